"""The comparison of decoding steps does what it says, on the tiny base."""

import importlib.util
from pathlib import Path

import pytest

from conftest import shake
from ditto_cli.config import LoraSettings

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "decode_step.py"


@pytest.fixture
def decode_step():
    spec = importlib.util.spec_from_file_location("decode_step", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_form_is_a_row_and_those_in_fp32_draw_from_the_same_policy(decode_step, tiny_policy, capsys):
    tiny_policy.add_adapter(decode_step.ADAPTER, LoraSettings(r=4, targets="all-linear"), seed=1)
    shake(tiny_policy, seed=2)
    before = {key: value.clone() for key, value in tiny_policy.weights(decode_step.ADAPTER).items()}
    names = ["library", "packed", "one-thread", "fixed", "bf16"]
    decode_step.print_table(tiny_policy, names, num_rows=5, num_steps=2)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == [decode_step.FORMS[name][0] for name in names]
    gaps = [float(row[3]) for row in rows]
    assert max(gaps[:4]) < 1e-4 < gaps[4]
    assert all(float(row[2]) >= 0 for row in rows)
    after = tiny_policy.weights(decode_step.ADAPTER)
    assert all((after[key] == value).all() for key, value in before.items())
