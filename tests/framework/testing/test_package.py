import textwrap

from framework import testing
from framework.testing.toys import ToyValues


def test_the_example_in_the_package_s_docstring(monkeypatch):
    called = []
    monkeypatch.setattr(testing, "assert_model_conforms", lambda *args, **named: called.append((args, named)))
    monkeypatch.setattr(testing, "assert_pipeline_conforms", lambda *args, **named: called.append((args, named)))
    example = testing.__doc__[testing.__doc__.index("from framework") :].replace("from my_package import", "# ")
    names = {"my_model": print, "my_pipeline": ToyValues}
    exec(textwrap.dedent(example), names)
    names["test_my_model"]()
    names["test_my_pipeline"]()
    assert called == [((print,), {"hparams": {"width": 8}}), ((ToyValues,), {})]
