pytest_plugins = ["cli_helpers"]
def test_probe(trained):
    import time
    for a in (["adapters","list"],["adapters","show","alice"],["sample","--adapter","alice","--seed","1","hi"],["sample","--compare","base,alice,bob","--seed","1","hi"]):
        t=time.time(); r=trained(*a); print(a, r.code, time.time()-t); print(r.out); print(r.err)
