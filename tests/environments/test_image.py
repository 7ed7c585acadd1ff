"""Images say what is to be installed, as plain values."""

import pickle
import sys

import pytest

import perdure
from perdure import Image
from perdure._api.dockerfile import dockerfile_of
from perdure._api.recipes import recipe_of, refer, unapplied, variables
from perdure._environments import indexes
from perdure._environments.fitting import fits
from perdure._environments.recipe import Options, Recipe, decode_recipe, encode_recipe
from perdure.errors import ConfigurationError, NotSupportedError

DEBIAN = Image.from_debian_base()


def lines(image):
    return [line for step in recipe_of(image).steps for line in step.requirements]


def test_an_image_is_a_value():
    one = DEBIAN.with_pip_packages("numpy").with_env_vars({"A": "1"})
    assert one == DEBIAN.with_pip_packages("numpy").with_env_vars({"A": "1"}) != DEBIAN
    assert pickle.loads(pickle.dumps(one)) == one
    assert hash(one) != hash(DEBIAN)
    assert variables(one) == {"A": "1"}


def test_a_recipe_has_one_encoding():
    options = {"index_url": "http://index/simple", "extra_index_urls": "http://more", "pre": True}
    image = Image.from_debian_base((3, 12)).with_pip_packages("numpy<2", **options)
    recipe = recipe_of(image)
    assert decode_recipe(encode_recipe(recipe)) == recipe
    assert recipe.label == "Python 3.12, numpy<2"
    assert recipe.steps[0].options.arguments() == [
        "--default-index", "http://index/simple", "--index", "http://more", "--pre",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: DEBIAN.with_pip_packages("not a package"),
        lambda: DEBIAN.with_pip_packages(["numpy", "pandas"]),
        lambda: DEBIAN.with_pip_packages("./nowhere"),
        lambda: DEBIAN.with_pip_packages("a", index_url="https://me:secret@index/simple"),
        lambda: DEBIAN.with_requirements("requirements.toml"),
        lambda: DEBIAN.with_env_vars({"A": 1}),
        lambda: DEBIAN.with_apt_packages(["git"]),
        lambda: DEBIAN.with_uv_project("pyproject.toml", project_install_mode="all"),
        lambda: Image.from_debian_base(python_version="3.12"),
        lambda: Image.from_debian_base(python_version=(3, 10)),
        lambda: Image.from_base(""),
        lambda: Image.from_base("python:3.12").with_pip_packages("numpy"),
        lambda: Image.from_dockerfile("Dockerfile", "registry", "name").with_env_vars({}),
        lambda: Image.from_uv_script("script.txt", name="x"),
        lambda: perdure.TaskEnvironment("e", image=3),
    ],
)
def test_what_makes_no_sense_is_told_where_it_is_written(make):
    with pytest.raises(ConfigurationError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: DEBIAN.with_pixi_project("pixi.toml"),
        lambda: Image.from_pixi_script("script.py", name="x"),
        lambda: DEBIAN.with_pip_packages("a", secret_mounts="KEY"),
        lambda: DEBIAN.with_local_v2_plugins("x"),
        lambda: Image.from_debian_base(flyte_version="2.0"),
        lambda: perdure.TaskEnvironment.from_task("x"),
    ],
)
def test_what_is_left_out_is_refused_by_name(make):
    with pytest.raises(NotSupportedError):
        make()


def test_a_base_image_takes_more_once_it_is_extendable():
    base = Image.from_base("python:3.12").clone(name="mine", extendable=True)
    assert lines(base.with_pip_packages("numpy")) == ["numpy"]
    assert (base.name, base.base_image) == ("mine", "python:3.12")


def test_requirements_files_include_others_and_paths_become_absolute(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "pyproject.toml").write_text("")
    (tmp_path / "requirements.txt").write_text(
        "numpy>=2  # arrays\n-r more/others.txt\n-c more/limits.txt\n./package[extra]\n"
        "--find-links wheels\npandas \\\n  >=2\n"
    )
    (tmp_path / "more" / "others.txt").write_text("polars\n\n# nothing\n")
    (tmp_path / "more" / "limits.txt").write_text("six<2\n")
    image = DEBIAN.with_requirements(tmp_path / "requirements.txt")
    (step,) = recipe_of(image).steps
    assert step.requirements == (
        "numpy>=2", "polars", f"{tmp_path}/package[extra]", f"--find-links {tmp_path}/wheels",
        "pandas    >=2",
    )  # fmt: skip
    assert step.constraints == ("six<2",)
    (before,) = step.sources
    (tmp_path / "package" / "module.py").write_text("x = 1\n")
    (after,) = recipe_of(image).steps[0].sources
    assert before.path == after.path
    assert before.digest != after.digest


def test_the_header_of_a_script_says_what_it_needs(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import perdure\n# /// script\n# requires-python = '>=3.11'\n"
        "# dependencies = [\n#   'numpy>=2',\n# ]\n#\n# [tool.uv]\n"
        "# exclude-newer = '2026-01-01T00:00:00Z'\n# ///\n"
    )
    recipe = recipe_of(Image.from_uv_script(script, name="x"))
    assert recipe.requires_python == ">=3.11"
    assert recipe.steps[0].requirements == ("numpy>=2",)
    assert "2026-01-01T00:00:00Z" in recipe.steps[0].options.arguments()


def test_a_script_without_a_header_is_told_how_to_write_one(tmp_path):
    (tmp_path / "script.py").write_text("import perdure\n")
    with pytest.raises(ConfigurationError, match="no header"):
        recipe_of(Image.from_uv_script(tmp_path / "script.py", name="x"))


HERE = (("numpy", "2.1.0"), ("mine", "editable"), ("pre", "1.0rc1"))


@pytest.mark.parametrize(
    ("wanted", "enough"),
    [
        ("numpy", True),
        ("NumPy>=2,<3", True),
        ("numpy<2", False),
        ("pandas", False),
        ("pandas; python_version < '3.0'", True),
        ("numpy[extra]", False),
        ("mine", True),
        ("mine>=1", False),
        ("pre>=1.0rc1", True),
        ("numpy @ https://host/numpy.whl", False),
    ],
)
def test_what_is_installed_here_is_used_if_it_satisfies(wanted, enough):
    assert fits(recipe_of(DEBIAN.with_pip_packages(wanted)), "cpython-3.11.7", HERE) is enough


@pytest.mark.parametrize(
    ("recipe", "enough"),
    [
        (Recipe(), True),
        (Recipe(python="3.11"), True),
        (Recipe(python="3.1"), False),
        (Recipe(python="3.12"), False),
        (Recipe(requires_python=">=3.11,<3.13"), True),
        (Recipe(requires_python=">=3.12"), False),
    ],
)
def test_so_is_its_python(recipe, enough):
    assert fits(recipe, "cpython-3.11.7", HERE) is enough


def test_the_core_knows_nothing_of_an_image_that_is_satisfied():
    assert refer(DEBIAN.with_pip_packages("msgspec>=0.1")).recipe == b""
    assert len(refer(DEBIAN.with_pip_packages("msgspec<0.1")).recipe) == 32


def test_what_only_containers_have_is_told_by_name(tmp_path):
    image = (
        Image.from_base("python:3.12").clone(extendable=True, name="mine")
        .with_apt_packages("git", "curl").with_commands(["make it"]).with_workdir("/app")
        .with_source_folder(tmp_path).with_code_bundle().with_dockerignore(tmp_path / "x")
    )  # fmt: skip
    told = unapplied(image)
    for part in ("image mine", "python:3.12", "git, curl", "make it", "/app", str(tmp_path)):
        assert part in told
    assert unapplied(DEBIAN.with_env_vars({"A": "1"}).with_code_bundle()) == ""


INSTALL = "apt-get install -y --no-install-recommends"
WRITE = "printf '%s\\n' six '--find-links https://host/wheels'"


def test_a_dockerfile_has_everything_in_its_order(tmp_path):
    (tmp_path / "requirements.txt").write_text("six\n--find-links https://host/wheels\n")
    (tmp_path / "data").mkdir()
    image = (
        Image.from_debian_base((3, 12)).with_apt_packages("git").with_env_vars({"A": 'say "b"'})
        .with_pip_packages("numpy>=2", "polars", index_url="https://host/simple")
        .with_requirements(tmp_path / "requirements.txt").with_commands(["make it"])
        .with_source_folder(tmp_path / "data").with_code_bundle()
    )  # fmt: skip
    assert dockerfile_of(image, tmp_path).splitlines() == [
        "FROM python:3.12-slim-bookworm",
        "WORKDIR /root",
        "ENV PYTHONPATH=/root UV_SYSTEM_PYTHON=1",
        "RUN pip install --no-cache-dir uv",
        f"RUN uv pip install perdure=={perdure.__version__}",
        f"RUN apt-get update && {INSTALL} git && rm -rf /var/lib/apt/lists/*",
        'ENV A="say \\"b\\""',
        "RUN uv pip install 'numpy>=2' polars --default-index https://host/simple",
        f"RUN mkdir -p /opt/image/3 && {WRITE} > /opt/image/3/requirements.txt",
        "RUN uv pip install --requirements /opt/image/3/requirements.txt",
        "RUN make it",
        "COPY data ./data",
        "COPY . .",
    ]


def test_a_dockerfile_copies_only_from_its_context(tmp_path):
    with pytest.raises(ConfigurationError, match="not inside the build context"):
        dockerfile_of(DEBIAN.with_source_folder("/usr"), tmp_path)


def test_the_dockerfile_of_a_dockerfile_is_that_file(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    image = Image.from_dockerfile(tmp_path / "Dockerfile", "registry", "name")
    assert dockerfile_of(image, tmp_path) == "FROM scratch\n"


def test_without_a_version_the_dockerfile_has_the_python_of_this_process(tmp_path):
    first = dockerfile_of(DEBIAN, tmp_path).splitlines()[0]
    assert first == "FROM python:{}.{}-slim-bookworm".format(*sys.version_info)


def test_uv_looks_where_pip_is_told_to_look(monkeypatch, tmp_path):
    pytest.importorskip("pip")
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nextra-index-url =\n  https://a/simple\n  https://b/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_INDEX_URL", "https://main/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    found = indexes.settings({})
    assert found["UV_DEFAULT_INDEX"] == "https://main/simple"
    assert "https://a/simple https://b/simple" in found["UV_INDEX"]
    assert found["UV_FIND_LINKS"] == "/one,/two"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert indexes.settings({"UV_INDEX_URL": "https://uv/simple"}) == {}


def test_options_of_uv_are_split_as_in_a_shell():
    assert Options(extra_args="--no-deps --exclude 'a b'").arguments() == [
        "--no-deps", "--exclude", "a b",
    ]  # fmt: skip
