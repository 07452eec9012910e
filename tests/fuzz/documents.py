"""Valid documents of each format, and words that mean something in it; mutations start from these."""

import json

from ditto_cli.demonstrations.prompts import new_folder_file, render_prompts
from ditto_cli.types import SourceText
from odd_documents import content_xml, document_xml, letter, mail, mbox, pdf, zipped

BETWEEN_TEXTS = "\n%%\n"


def _words(text):
    """The words of a text, with escapes as in Python; the mark \u2423 is a space."""
    return tuple(
        word.replace("\u2423", " ").encode().decode("unicode_escape").encode("latin-1") for word in text.split()
    )


LETTERS = tuple(letter(number).encode() for number in range(3))
FRONT_MATTER = (
    b'---\nprompt: "Write to Bo."\n---\n' + LETTERS[0],
    b"---\nprompt: |\n  Write to Bo.\n  And Ada.\ntitle: x\ndate: 2024-01-01\ntags: [a, b]\n---\n" + LETTERS[1],
    b"<!-- note -->\n---\n---\n" + LETTERS[2],
)
HTML_MAIL = (
    b"<html><body><div>" + LETTERS[0].replace(b"\n", b"<br>\n") + b'</div><div class="gmail_quote">On Monday Bo wrote:'
    b"<blockquote>come over</blockquote></div></body></html>"
)
REPLY = (
    LETTERS[1] + b"\nOn Mon, Jan 1, 2024 at 10:00 AM Bo <bo@example.com> wrote:\n> come over\n>> when?\n\n-- \nMaya\n"
)
MULTIPART = (
    b"--b1\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
    + REPLY.replace(b"=", b"=3D")
    + b"--b1\nContent-Type: text/html\n\n"
    + HTML_MAIL
    + b"\n--b1\nContent-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--b1--\n"
)
MAILS = (
    mail(REPLY, subject="Re: tea", Message_ID="<1@x>", In_Reply_To="<0@x>"),
    mail(HTML_MAIL, content="text/html; charset=iso-8859-1", Message_ID="<2@x>"),
    mail(
        MULTIPART, content='multipart/mixed; boundary="b1"', subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=", Message_ID="<3@x>"
    ),
    mail("SGkgQm8sIGJyaW5nIHRoZSBsYWRkZXIgcGxlYXNlLg==", Content_Transfer_Encoding="base64", X_Gmail_Labels="Sent"),
)
PAGES = (
    b"<!doctype html><html><head><title>Tea | Blog</title><meta charset=utf-8></head>"
    b"<body><nav>menu</nav><main><h1>Tea</h1>"
    + LETTERS[0].replace(b"\n\n", b"<p>")
    + b"</p><ul><li>a<li>b</ul><blockquote>said</blockquote><table><tr><td>1<td>2</table></main></html>",
    b"<article><h2>One</h2>" + LETTERS[1] + b"</article><article><h2>Two</h2>" + LETTERS[2] + b"</article>",
    b"<p>" + LETTERS[0] + b"<pre>  x\n  y</pre><script>var a;</script><style>p{}</style>",
)
MBOXES = (mbox(MAILS), mbox(MAILS[:2], b"\r\n"))
TABLES = (
    b'date,title,text\n1,Tea,"' + LETTERS[0] + b'"\n2,,"' + LETTERS[1] + b'"\n',
    b'sep=;\nTexte;Titre\n"' + LETTERS[2] + b'";x\n',
    b"body\tprompt\n" + LETTERS[0].replace(b"\n", b" ") + b"\tWrite.\n",
)
ENTRIES = tuple(letter(number) for number in range(3))
JSONS = (
    json.dumps([{"prompt": "Write.", "completion": ENTRIES[0]}, {"text": ENTRIES[1], "id": 3}]).encode(),
    json.dumps({"posts": [{"title": "Tea", "body": ENTRIES[2]}], "n": 1.5}).encode(),
    json.dumps([ENTRIES[0], ENTRIES[1]], ensure_ascii=False).encode(),
    json.dumps(
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ENTRIES[0]}]}
    ).encode(),
)
LINES = b"\n".join(json.dumps({"prompt": "Write.", "completion": entry}).encode() for entry in ENTRIES)
ZIPS = (
    zipped({"a.txt": LETTERS[0], "b/c.md": FRONT_MATTER[0], "Sent.mbox": mbox(MAILS)}, 0),
    zipped({"x.eml": MAILS[0], "y.html": PAGES[0], "z.json": JSONS[0]}),
)
FOLDER_FILES = (
    b"schema_version: 1\nname: alice\nprompts:\n  a.md: Write.\n  'b.md': \"x\"\ndpo: {learning_rate: 2.0e-5}\n",
    b"# note\nname: alice\nprompts: {a.md: Write.}\nseed: 1\nredact: false\n",
    b"prompts:\n    a.md: |\n      Two\n      lines\n\n    b.md: >-\n      folded\n\n# the end\nsplit: true\n",
    new_folder_file({"name": "x", "me": ["a", "b"]}).encode(),
)
PROMPT_FILES = (
    render_prompts(
        None, [(SourceText("a.md", "one", None), "Write."), (SourceText("b.md", "two", None), "Do:\n\n x")]
    ).encode(),
    b"0123456789abcdef: Write to Bo.\n'1123456789abcdef': |\n  Two\n  lines\n",
)
SETS_OF_TEXTS = tuple(
    BETWEEN_TEXTS.join(letter(number) for number in range(start, start + num)).encode()
    for start, num in ((0, 2), (2, 6), (8, 12))
)
NOTES = ("\n---\n".join(ENTRIES).encode(), ("1.\n" + ENTRIES[0] + "\n2.\n" + ENTRIES[1]).encode(), *LETTERS)
PERSONAL = (
    b"Call +44 20 7946 0958, 030 12345678 or write to a.b@mail.example, IBAN DE89 3704 0044 0532 0130 00, "
    b"card 4111 1111 1111 1111, see https://x.example/y."
)
WORD_XML = (document_xml(letter(0)).encode(), document_xml(letter(1)).replace("<w:t>", "<w:br/><w:t>").encode())
ODT_XML = (content_xml(letter(0)).encode(), content_xml(letter(1)).replace("<text:p>", "<text:p><text:tab/>").encode())
PDFS = (pdf(letter(0)), pdf(letter(1)), pdf("x"))

YAML_WORDS = _words(
    r"""
    ---\n prompt:␣ !!str␣ !!python/none␣ &a␣ *a |\n␣␣ >-\n␣␣ [ { ?␣ <<:␣ " ' \\x \t
    :␣ # %TAG␣ ...\n 2024-13-45 0x_ ~ \xef\xbb\xbf
    """
)
TEXT_WORDS = _words(
    r"""
    ---\n ***\n <!-- --> 1.\n 2.\n \r \x00 \x85 \xe2\x80\xa8 \xef\xbb\xbf \xff\xfe \xcc\x81 \xed\xa0\x80
    \xe2\x80\x8f \xf3\xa0\x81\x81 \n\n\n
    ␣␣␣␣␣␣␣␣␣␣␣␣␣␣␣␣␣␣␣␣
    <|im_start|> [INST] +44␣20␣7946␣0958 DE89␣3704␣0044␣0532␣0130␣00 a@b.example
    4111␣1111␣1111␣1111 http://
    \xe3\x81\x8a\xe5\x85\x83\xe6\xb0\x97 Gr\xc3\xbc\xc3\x9fe␣
    {{name}} %%\n --␣\n
    """
)
MAIL_WORDS = _words(
    r"""
    \nFrom:␣a␣<a@b.example> \nSubject:␣ \nContent-Type:␣multipart/mixed;␣boundary=b1\n --b1\n --b1--
    \nContent-Type:␣text/html\n \nContent-Transfer-Encoding:␣base64\n quoted-printable charset=utf-7
    charset=hex charset*0*=''x;␣charset*1=y =?utf-8?b? ?= =?x?q?=zz?= \r\n \n\n \n>From␣ \x00
    format=flowed;␣delsp=yes \nFrom␣x␣Mon␣Jan␣␣1␣10:00:00␣2024\n Re:␣ Fwd:␣
    -----Original␣Message-----\n \nOn␣Mon,␣Jan␣1,␣2024,␣Bo␣<b@c.example>␣wrote:\n \n>␣
    \n--␣\n -----BEGIN␣PGP␣SIGNED␣MESSAGE-----\n Sent␣from␣my␣iPhone
    \n________________________________\nFrom:␣ \nVon:␣ @ < , " (
    ;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;
    """
)
HTML_WORDS = _words(
    r"""
    <div> </div> <p <!-- --> <![CDATA[ <![x[ <![if␣!mso]> <!DOCTYPE <blockquote> <script> <style>
    </body> &#x110000; &#0; &amp &bogus;
    <meta␣charset=utf-16> <table><td> <ul><li> <?xml␣ <a␣href=' ␣class="gmail_quote" <article> <h1>
    <title> <template> <svg> <br/> <pre> style="display:none"
    """
)
XML_WORDS = _words(
    r"""
    <w:p> </w:t> <!DOCTYPE␣x> <!ENTITY␣a␣'b'> &a; &#55296; <?xml␣version='1.1'?> <?x?> <!--x--> <![CDATA[x]]>
    <w:p><w:r><w:t>word</w:t><w:br/><w:tab/></w:r></w:p> <w:p><w:pPr><w:pStyle␣w:val='Title'/></w:pPr></w:p>
    <w:p><w:pPr><w:numPr><w:ilvl␣w:val='99'/><w:numId␣w:val='x'/></w:numPr></w:pPr></w:p> <w:p/> <w:sectPr/> <w:tbl/>
    <w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan␣w:val='x'/><w:vMerge/></w:tcPr><w:p/></w:tc></w:tr></w:tbl>
    <w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins></w:p>
    <w:p><w:hyperlink␣w:anchor='x'><w:r><w:t>y</w:t></w:r></w:hyperlink><w:bookmarkStart␣w:name='x'/></w:p>
    <w:p><w:r><w:footnoteReference␣w:id='2'/><w:commentReference␣w:id='x'/><w:sym␣w:font='x'␣w:char='F0'/></w:r></w:p>
    <w:p><w:r><w:fldChar␣w:fldCharType='begin'/><w:instrText>HYPERLINK</w:instrText></w:r></w:p> <w:sdt><w:p/></w:sdt>
    <text:p>word<text:s␣text:c='9'/><text:s␣text:c='x'/><text:tab/><text:line-break/></text:p> <text:p/> <text:section/>
    <text:h␣text:outline-level='x'>head</text:h> <text:soft-page-break/>
    <text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>
    <text:p><text:note><text:note-body><text:p>note</text:p></text:note-body></text:note></text:p>
    <text:tracked-changes><text:changed-region/></text:tracked-changes> <text:p><text:span>x</text:span>y</text:p>
    <table:table␣xmlns:table='urn:oasis:names:tc:opendocument:xmlns:table:1.0'><table:table-row/></table:table>
    """
)
PDF_WORDS = _words(
    r"""
    endobj obj stream\n endstream xref\n trailer startxref\n %%EOF <<␣ >>␣ [ ] /Kids 2␣0␣R
    9999␣0␣R /Count␣-1 /Filter␣/FlateDecode /Filter␣[/ASCII85Decode␣/LZWDecode]
    /Encrypt␣3␣0␣R /Prev␣9 /Type␣/ObjStm (\\( \\777 BT ET Tj TJ /F1␣0␣Tf 1e999␣0␣Td
    /ToUnicode␣4␣0␣R /Length␣99999999
    """
)
TABLE_WORDS = _words(
    r"""
    , ; \t | " "" \n \r sep=,\n text, body, prompt, completion \x00 =1+1 '
    """
)
JSON_WORDS = _words(
    r"""
    [ ] { } " : , null true NaN -Infinity 1e999
    9999999999999999999999999999999999999999999999999999999999999999999999
    "text": "messages": \\ud800 \\u0000 \\ "role":␣"system" "content" "prompt": "completion": \n \xef\xbb\xbf
    \\u2028
    """
)
ZIP_WORDS = _words(
    r"""
    PK\x03\x04 PK\x01\x02 PK\x05\x06 PK\x06\x06 PK\x06\x07 \xff\xff\xff\xff \x00\x00\x00\x00 ../ /etc/ \\ a.zip
    .mbox \x00
    """
)
SETTING_WORDS = _words(
    r"""
    name:␣ prompts:\n ␣␣n.md:␣x\n redact:␣ seed:␣ me:␣[a@b]\n null\n schema_version:␣2\n
    \n␣␣ \r\n
    """
)
