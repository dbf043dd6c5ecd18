"""The command line: what it prints and writes, and how it fails."""

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import h5py
import ismrmrd
import numpy as np
import pytest

from pipelines.cli import main
from pipelines.mrd_hdf5_writer import write_scan
from pipelines.server import Server
from pipelines.sources import Scan, open_scan
from tests.pipelines import wire
from tests.pipelines.wire import RawClient

FFT = ("--recipe", "cartesian_fft")


class Command:
    """`reconstream` in this process: exit code, stdout, stderr."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # `main` sets its own

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["reconstream", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self._capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def reconstream(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(monkeypatch, capsys)


def images_of(path: Path) -> list[ismrmrd.Image]:
    with ismrmrd.Dataset(str(path), create_if_needed=False) as dataset:
        return [dataset.read_image("image_0", i) for i in range(dataset.number_of_images("image_0"))]


def is_one_line(text: str) -> bool:
    return text.count("\n") == 1 and text.endswith("\n")


def test_help_needs_none_of_the_heavy_libraries() -> None:
    heavy = "{'torch', 'numpy', 'ismrmrd', 'h5py', 'scipy', 'msgspec'}"
    code = f"import sys, pipelines.cli; print(*sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_help_takes_less_than_a_third_of_a_second() -> None:
    command = [str(Path(sys.executable).with_name("reconstream")), "--help"]
    times = []
    for _ in range(7):
        began = perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(perf_counter() - began)
    assert min(times) < 0.3


def test_recon_writes_images_named_after_the_scan_and_is_quiet_when_piped(
    reconstream: Command, simulated_file: Path
) -> None:
    code, out, err = reconstream("recon", simulated_file, *FFT, "--out", "results")
    assert (code, out, err) == (0, f"{Path('results/scan.h5')}\n", "")
    with h5py.File("results/scan.h5") as file:
        assert list(file["dataset"]) == ["image_0", "xml"]
    first, second = images_of(Path("results/scan.h5"))
    assert first.data.shape == (1, 1, 64, 64)
    assert (first.slice, second.slice) == (0, 1)


def test_recon_reports_as_json(reconstream: Command, simulated_file: Path) -> None:
    code, out, err = reconstream("recon", simulated_file, *FFT, "--format", "mrd,npy", "--json")
    (outcome,) = json.loads(out)
    assert (code, err) == (0, "")
    assert outcome["recipe"] == "cartesian_fft"
    assert outcome["images"] == 2
    assert outcome["error"] is None
    assert outcome["files"] == ["images/scan.h5", "images/scan.npy"]
    assert np.load("images/scan.npy").shape == (2, 1, 1, 64, 64)


def test_a_terminal_gets_a_progress_bar(
    reconstream: Command, simulated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    code, _, err = reconstream("recon", simulated_file, *FFT)
    assert code == 0
    assert "scan.h5" in err
    assert "2 images" in err


def test_server_recon_and_replay_give_equal_images(reconstream: Command, simulated_file: Path) -> None:
    with Server(port=0, journal=Path("journals")) as server:
        arguments = ("--port", server.address[1], "--out", "sent.h5", "--json")
        code, out, _ = reconstream("send", simulated_file, *FFT, *arguments)
    assert code == 0
    assert json.loads(out) == {
        "scan": str(simulated_file),
        "recipe": "cartesian_fft",
        "images": 2,
        "files": ["sent.h5"],
    }
    (journal,) = Path("journals").iterdir()
    assert reconstream("replay", journal, "--out", "replayed")[0] == 0
    assert reconstream("recon", simulated_file, *FFT, "--out", "direct")[0] == 0
    sent = images_of(Path("sent.h5"))
    for other in (images_of(Path("replayed", f"{journal.stem}.h5")), images_of(Path("direct/scan.h5"))):
        for a, b in zip(sent, other, strict=True):
            np.testing.assert_array_equal(a.data, b.data)
            assert bytes(a.getHead()) == bytes(b.getHead())
            assert a.attribute_string == b.attribute_string


def test_set_changes_a_parameter(reconstream: Command, simulated_file: Path) -> None:
    assert reconstream("recon", simulated_file, *FFT, "--set", "ImageType.part=phase")[0] == 0
    assert images_of(Path("images/scan.h5"))[0].image_type == ismrmrd.IMTYPE_PHASE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--recipe", "no_such"), "expected a TOML or XML file, or one of auto, cartesian_cascade"),
        (("--recipe", "../../etc/passwd"), "expected a TOML or XML file, or one of auto, cartesian_cascade"),
        ((*FFT, "--set", "ImageType.part"), "expected Gadget.param=value"),
        ((*FFT, "--set", "ImageType.no_such=1"), "expected parameters of part, got 'no_such'"),
        (
            (*FFT, "--set", "ImageType.part=loud"),
            "expected part to be one of magnitude, phase, real, imaginary, complex, got 'loud'",
        ),
        ((*FFT, "--set", "Invisible.part=1"), "a gadget of this recipe"),
        ((*FFT, "--format", "mrd,bmp"), "expected some of mrd, stream, png, nifti, dicom, npy, got 'bmp'"),
    ],
)
def test_a_wrong_argument_is_one_line_on_stderr(
    reconstream: Command, simulated_file: Path, arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = reconstream("recon", simulated_file, *arguments)
    assert code == 1
    assert out == ""
    assert is_one_line(err)
    assert err.startswith("reconstream: ")
    assert says in err
    assert not Path("images").exists()


def test_a_directory_that_cannot_be_made_is_named(reconstream: Command, simulated_file: Path) -> None:
    Path("taken").write_text("")
    code, _, err = reconstream("recon", simulated_file, *FFT, "--out", "taken")
    assert code == 1
    assert is_one_line(err)
    assert "taken: expected a directory for the images, got: File exists; choose another" in err


def test_after_a_failure_the_other_files_are_reconstructed_and_the_exit_code_tells(
    reconstream: Command, simulated_file: Path
) -> None:
    Path("broken.h5").write_bytes(simulated_file.read_bytes()[:4000])
    code, out, err = reconstream("recon", "broken.h5", "missing.h5", simulated_file, *FFT)
    assert code == 1
    assert out == "images/scan.h5\n"
    first, second = err.splitlines()
    assert first.startswith("reconstream: broken.h5: ")
    assert second.startswith("reconstream: missing.h5: ")
    assert second.count("missing.h5") == 1


def test_a_log_line_names_its_scan(tmp_path: Path, simulated_file: Path) -> None:
    scan = open_scan(simulated_file)
    _noise, *imaging = scan.items()
    write_scan(Scan(scan.header_xml, lambda: iter(imaging)), tmp_path / "bare.h5")
    command = [str(Path(sys.executable).with_name("reconstream")), "recon", "bare.h5", *FFT]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "WARNING bare.h5: not noise-whitened" in result.stderr


def test_the_noise_of_one_file_serves_the_next_that_depends_on_it(
    reconstream: Command, simulated_file: Path
) -> None:
    scan = open_scan(simulated_file)
    dependency = (
        b"<measurementDependency><dependencyType>Noise</dependencyType>"
        b"<measurementID>simulated_head</measurementID></measurementDependency></measurementInformation>"
    )
    header_xml = scan.header_xml.replace(b"</measurementInformation>", dependency)
    _noise, *imaging = scan.items()
    write_scan(Scan(header_xml, lambda: iter(imaging)), Path("second.h5"))
    code, _, err = reconstream("recon", simulated_file, "second.h5", *FFT, "--out", "both")
    assert code == 0
    assert "not noise-whitened" not in err
    for a, b in zip(images_of(Path("both/scan.h5")), images_of(Path("both/second.h5")), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_images_never_replace_the_scan_or_one_another(reconstream: Command, simulated_file: Path) -> None:
    code, _, err = reconstream("recon", simulated_file, *FFT, "--out", simulated_file.parent)
    assert code == 1
    assert "another directory" in err
    code, _, err = reconstream("send", simulated_file, *FFT, "--out", simulated_file)
    assert code == 1
    assert "another file" in err
    code, _, err = reconstream("recon", simulated_file, Path("elsewhere", simulated_file.name), *FFT)
    assert code == 1
    assert "'scan' twice" in err


def test_a_bug_is_one_line_too() -> None:
    code = "import pipelines.cli as c, pipelines.doctor as d; d.examine = lambda *_: {}['missing']; c.main()"
    command = [sys.executable, "-c", code, "doctor"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert is_one_line(result.stderr)
    assert "internal error: KeyError: 'missing'" in result.stderr


def test_debug_shows_where_an_error_arose(
    simulated_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", "from pipelines.cli import main; main()"]
    failing = [*command, "--debug", "recon", str(simulated_file), "--recipe", "no_such"]
    result = subprocess.run(failing, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "RecipeError" in result.stderr


def test_send_without_a_server_says_so(reconstream: Command, simulated_file: Path) -> None:
    with Server(port=0) as server:
        port = server.address[1]
    code, _, err = reconstream("send", simulated_file, *FFT, "--port", port, "--out", "sent.h5")
    assert code == 1
    assert is_one_line(err)
    assert "expected a server listening there" in err
    assert not Path("sent.h5").exists()


def test_send_passes_on_what_the_server_says(reconstream: Command, simulated_file: Path) -> None:
    with Server(port=0) as server:
        arguments = ("--recipe", "no_such", "--port", server.address[1], "--out", "sent.h5")
        code, _, err = reconstream("send", simulated_file, *arguments)
    assert code == 1
    assert is_one_line(err)
    assert "recipe 'no_such': expected one of" in err


def test_send_takes_a_recipe_from_a_file(reconstream: Command, simulated_file: Path) -> None:
    Path("mine.toml").write_text(reconstream("recipes", "show", "cartesian_fft")[1])
    with Server(port=0) as server:
        arguments = ("--recipe", "mine.toml", "--port", server.address[1], "--out", "sent.mrd")
        assert reconstream("send", simulated_file, *arguments)[0] == 0
    assert Path("sent.mrd").stat().st_size > 2 * 64 * 64 * 4


def test_serve_refuses_an_address_others_can_reach_unless_told(reconstream: Command) -> None:
    code, _, err = reconstream("serve", "--host", "0.0.0.0", "--port", 0)
    assert code == 1
    assert is_one_line(err)
    assert "--allow-remote" in err


def test_serve_announces_itself_and_ends_well_on_sigterm(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("reconstream")), "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as server:
        assert server.stderr is not None
        assert "reconstream ready on 127.0.0.1:" in server.stderr.readline()
        server.terminate()
        rest = server.stderr.read()
    assert server.returncode == 0
    assert "Traceback" not in rest


def test_serve_ends_at_once_at_the_second_signal_and_tells_the_client(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("reconstream")), "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        assert server.stderr is not None
        port = int(server.stderr.readline().rpartition(":")[2])
        with RawClient(("127.0.0.1", port)) as client:
            client.send(*wire.scan()[:5])
            while "recipe" not in server.stderr.readline():
                pass
            server.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                server.wait(0.5)  # the scan may end
            server.send_signal(signal.SIGINT)
            assert "server: stopped before the scan was complete" in client.error()
        assert server.wait(wire.DEADLINE_S) == 0


def test_recipes_are_listed_shown_and_checked(reconstream: Command) -> None:
    assert "cartesian_fft" in reconstream("recipes", "list")[1]
    shown = reconstream("recipes", "show", "cartesian_fft")[1]
    Path("mine.toml").write_text(shown.replace('name = "cartesian_fft"', 'name = "mine"'))
    code, out, _ = reconstream("recipes", "check", "mine.toml", "cartesian_fft")
    assert code == 0
    assert out.splitlines()[0].startswith("mine.toml: good, ")
    Path("bad.toml").write_text(shown.replace("NoiseAdjust", "NoiseAdjuster"))
    code, _, err = reconstream("recipes", "check", "bad.toml")
    assert code == 1
    assert is_one_line(err)
    assert "'NoiseAdjuster'" in err


def test_every_recipe_is_checked_though_some_are_bad(reconstream: Command) -> None:
    Path("bad.toml").write_text('name = "mine"\nabout = "nothing known"\n[[gadget]]\nuse = "Unknown"')
    code, out, err = reconstream("recipes", "check", "bad.toml", "no_such", "cartesian_fft")
    assert code == 1
    assert out.startswith("cartesian_fft: good, ")
    first, second = err.splitlines()
    assert first.startswith("reconstream: bad.toml: recipe 'mine', gadget 1: expected one of")
    assert second.startswith("reconstream: recipe 'no_such': expected a TOML or XML file")


def test_the_version_is_told(reconstream: Command) -> None:
    assert reconstream("--version") == (0, f"reconstream {version('reconstream')}\n", "")


def test_a_file_that_cannot_be_written_or_a_wrong_kind_is_one_line(reconstream: Command) -> None:
    Path("taken").write_text("")
    np.save("kspace.npy", np.ones((2, 4, 4), np.complex64))
    source = ("import", "kspace.npy")
    code, _, err = reconstream(*source, "taken/x.h5", "--axes", "coil ky kx")
    assert code == 1
    assert is_one_line(err)
    assert "taken/x.h5: expected a place to write a file, got: File exists; choose another" in err
    code, _, err = reconstream(*source, "x.h5", "--kind", "tiff")
    assert code == 1
    assert err.startswith("reconstream: --kind: expected one of bart, fastmri")


def test_a_gadgetron_configuration_is_shown_as_an_equal_recipe(reconstream: Command) -> None:
    gadgets = "".join(
        f"<gadget><name>{name}</name><dll>x</dll><classname>{name}</classname></gadget>"
        for name in ("NoiseAdjust", "Accumulate", "FourierReconstruction")
    )
    Path("chain.xml").write_text(f"<gadgetronStreamConfiguration>{gadgets}</gadgetronStreamConfiguration>")
    code, out, _ = reconstream("recipes", "show", "chain.xml")
    assert code == 0
    Path("chain.toml").write_text(out)
    checked = [reconstream("recipes", "check", f"chain.{ending}")[1] for ending in ("xml", "toml")]
    steps = [text.splitlines()[-1].partition(": good")[2] for text in checked]
    assert steps[0] == steps[1] != ""


def test_gadgets_are_listed_and_shown_with_their_parameters(reconstream: Command) -> None:
    assert "NoiseAdjust" in reconstream("gadgets", "list")[1]
    out = reconstream("gadgets", "show", "ImageType")[1]
    assert "takes  ImageSeries" in out
    assert "part: Part = 'magnitude'" in out
    code, _, err = reconstream("gadgets", "show", "Imaginary")
    assert code == 1
    assert is_one_line(err)
