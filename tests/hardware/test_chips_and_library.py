"""Chips, fragments, and the library against brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fragenv.errors import InfeasibleError
from fragenv.hardware.array_timing import array_cycles, multiply_cycles
from fragenv.hardware.chip import Area, Chip, ChipError, load_chip, preset_names
from fragenv.hardware.fragment import Fragment, Stage
from fragenv.hardware.library import _pareto, build_library
from fragenv.hardware.resources import SRAM_BLOCK_BYTES
from fragenv.hardware.timing import ACC_PIXELS, dma_cycles, pixel_tiles
from fragenv.models import zoo
from fragenv.schedule.problem import Problem
from fragenv.schedule.shape import task_shape
from fragenv.synth.configurations import Shell, shell_of, top_of


@pytest.mark.parametrize("name", preset_names())
def test_preset__loads_and_is_named_like_its_file(name: str) -> None:
    chip = load_chip(name)
    assert chip.name == name
    assert chip.source


def test_presets__are_those_of_the_design() -> None:
    wanted = {"ecp5-85", "xc7z020", "xc7z045", "xc7vx485t", "zu7ev", "cgra512"}
    assert wanted == set(preset_names())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not a TOML file"),
        ('name = "x"\nspeed = 3\n', "unknown field 'speed'"),
        ('name = "x"\nmultipliers = "many"\n', "must be of type int"),
        ('name = "x"\n', "missing"),
    ],
)
def test_chip__wrong_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "chip.toml"
    path.write_text(text)
    with pytest.raises(ChipError, match=message):
        load_chip(path)


def test_chip__own_file_is_read(tmp_path: Path) -> None:
    source = Path(__file__).parent.parent.parent / "fragenv/hardware/presets/xc7z020.toml"
    path = tmp_path / "mine.toml"
    path.write_text(source.read_text().replace('"xc7z020"', '"mine"'))
    assert load_chip(path).name == "mine"


def tiny(**changes: int | str) -> Chip:
    fields = load_chip("xc7z020").to_dict() | {"name": "tiny"} | changes
    return Chip(**fields)


@pytest.mark.parametrize(
    ("name", "blocks"),
    # 18 Kbit: data sheets FPGA-DS-02012, DS190, DS180
    [("ecp5-85", 208), ("xc7z020", 280), ("xc7z045", 1090), ("xc7vx485t", 2060)],
)
def test_preset__shell_and_region_share_the_block_rams(name: str, blocks: int) -> None:
    chip = load_chip(name)
    of_shell, rest = divmod(chip.shell((), (), 0).local_bytes, SRAM_BLOCK_BYTES[chip.family])
    of_region, more = divmod(chip.local_bytes, SRAM_BLOCK_BYTES[chip.family])
    assert rest == more == 0
    assert of_shell + of_region <= blocks
    assert of_shell * 2048 == chip.buffer_bytes  # nothing of them is left over


def test_preset__ultra_ram_of_zu7ev() -> None:
    chip = load_chip("zu7ev")  # DS891 table 8: 96 of 288 Kbit, and 312 block RAMs of 36 Kbit
    assert chip.buffer_bytes == 96 * 32_768
    assert chip.local_bytes == 624 * SRAM_BLOCK_BYTES["xilinx"]


def test_chip__unknown_family() -> None:
    with pytest.raises(ChipError, match="unknown family 'max10'; known are ecp5, xilinx, cgra"):
        tiny(family="max10")


@pytest.mark.parametrize("name", preset_names())
def test_chip__region_is_the_device_without_its_shell(name: str) -> None:
    chip = load_chip(name)
    if chip.family == "cgra":
        assert chip.area == Area(chip.multipliers, chip.lut, chip.local_bytes)
        return
    assert 0.5 * chip.lut < chip.area.lut < chip.lut
    assert chip.area.multipliers == chip.multipliers


def test_problem__refuses_a_buffer_too_small_by_operator_and_resource() -> None:
    with pytest.raises(InfeasibleError, match="tensor buffer too small") as caught:
        Problem(zoo.graph("alexnet"), tiny(buffer_bytes=2000))
    assert "operator '" in str(caught.value)


def test_problem__refuses_a_chip_without_room_for_a_fragment() -> None:
    with pytest.raises(InfeasibleError, match="no fragment fits"):
        Problem(zoo.graph("lenet"), tiny(lut=500))


@given(st.integers(1, 100_000))
def test_pixel_tiles__cover_the_pixels_evenly_and_fit_the_accumulators(pixels: int) -> None:
    full, size, rest = pixel_tiles(pixels)
    assert full * size + rest == pixels
    assert rest < size <= ACC_PIXELS
    assert full + (rest > 0) == -(-pixels // ACC_PIXELS)


blocks = st.integers(1, 40)


@given(blocks, blocks, st.integers(1, 2000), st.integers(1, 32))
def test_array_cycles__never_beat_a_pixel_per_cycle(
    per_group: int, groups: int, pixels: int, lanes: int
) -> None:
    number = per_group * groups
    cycles = array_cycles(0, number, per_group, pixel_tiles(pixels), lanes, lanes)
    assert cycles >= number * pixels
    # more pixels in every tile take no less time; more tiles may, because they drain earlier
    full, size, rest = pixel_tiles(pixels)
    more = (full, size + 1, rest + 1 if rest else 0)
    assert cycles <= array_cycles(0, number, per_group, more, lanes, lanes)


def _slowly(units: list[tuple[bool, int, int]], lanes_in: int, rows: int) -> int:
    """The rules of ``array_cycles``, unit by unit: (begins a group, blocks, pixels)."""
    latency = 11 + multiply_cycles(lanes_in)
    read: list[int] = []
    groups: list[int] = []  # last read of each finished group
    taken = before = 0
    for number, (begins, count, pixels) in enumerate(units):
        if number == 0:
            taken = 9 + rows
        else:
            ready = taken + rows
            if begins:
                groups.append(read[-1])
                ready += 8
                if len(groups) > 1:
                    ready = max(ready, groups[-2] + 10 + rows)
            taken = max(ready, taken + before)
        if number > 1:
            taken = max(taken, read[-2] + 1)
        taken += (count - 1) * max(pixels, rows)
        before = pixels
        sums = taken + pixels - 1 + latency
        read.append(max(sums, read[-1] + 1 if read else 0) + pixels - 1)
    return read[-1] + 12


@given(
    st.integers(1, 12), st.integers(1, 30), st.integers(1, 1500), st.integers(1, 20), st.booleans()
)
def test_array_cycles__is_the_sum_of_its_units(
    per_group: int, groups: int, pixels: int, lanes_in: int, depthwise: bool
) -> None:
    tiles = pixel_tiles(pixels)
    rows = 1 if depthwise else lanes_in
    sizes = [tiles[1]] * tiles[0] + [tiles[2]] * (tiles[2] > 0)
    units = [(i == 0, per_group, size) for _ in range(groups) for i, size in enumerate(sizes)]
    found = array_cycles(0, per_group * groups, per_group, tiles, lanes_in, rows)
    assert found == _slowly(units, lanes_in, rows)


@given(st.integers(1, 5000), st.integers(1, 9), st.sampled_from([4, 16, 64]))
def test_dma_cycles__move_no_more_than_the_port_carries(size: int, runs: int, port: int) -> None:
    assert dma_cycles(size, runs, port, 10) * port >= size * runs


def test_fragment__subsumption_needs_equal_lanes_and_all_stages() -> None:
    full = Fragment(4, 8, (Stage.MAC, Stage.POOL))
    assert full.subsumes(Fragment(4, 8, (Stage.MAC,)))
    assert not Fragment(4, 8, (Stage.MAC,)).subsumes(full)
    assert not full.subsumes(Fragment(8, 4, (Stage.MAC,)))


def test_fragment__requantisation_takes_multipliers_of_an_fpga() -> None:
    array, one_row = Fragment(4, 8, (Stage.MAC, Stage.POOL)), Fragment(1, 8, (Stage.DEPTHWISE,))
    assert (array.multipliers, one_row.multipliers) == (32, 8)
    for family, per_lane in (("cgra", 0), ("xilinx", 2), ("ecp5", 4)):
        assert array.area(family).multipliers == 32 + 8 * per_lane
        assert one_row.area(family).multipliers == 8 + 8 * per_lane


@pytest.mark.parametrize("stages", [(), (Stage.MAC,), (Stage.ADD,), (Stage.MAC, Stage.ADD)])
def test_fragment__bound_area_has_the_ports_that_are_emitted(stages: tuple[Stage, ...]) -> None:
    chip, fragment = load_chip("ecp5-85"), Fragment(12, 9, stages)
    of = shell_of(top_of(chip, (fragment,)))
    beat = chip.dram_bytes_per_cycle
    assert of == Shell(chip.buffer_bytes, (beat, *fragment.read_ports), (beat, 9), 1)
    # region and circuit are the device less what synthesis of the whole is predicted to take
    whole = fragment.area(chip.family) + chip.shell(of.readers[1:], of.writers[1:], of.circuits)
    left = chip.area - fragment.bound_area(chip)
    assert left == Area(
        chip.multipliers - whole.multipliers,
        chip.lut - whole.lut,
        chip.local_bytes - fragment.area(chip.family).local_bytes,
    )


def test_fragment__wider_than_the_port_pays_for_wider_rows() -> None:
    chip = load_chip("ecp5-85")
    narrow, wide = Fragment(16, 4, (Stage.MAC,)), Fragment(17, 4, (Stage.MAC,))
    of_ports = [f.bound_area(chip) - f.area(chip.family) for f in (narrow, wide)]
    assert of_ports[1].lut > 1.3 * of_ports[0].lut
    assert of_ports[0].local_bytes == 0 < of_ports[1].local_bytes  # rounded to longer rows


def test_pareto__keeps_what_brute_force_keeps() -> None:
    rng = np.random.default_rng(0)
    lanes = rng.integers(1, 9, (40, 2))
    cycles = rng.integers(1, 50, (3, 40)).astype(float)
    kept = _pareto(lanes, cycles)
    area = lanes[:, 0] * lanes[:, 1]
    for index in range(40):
        optimal = any(
            not any(
                area[j] <= area[index]
                and row[j] <= row[index]
                and (area[j], row[j]) != (area[index], row[index])
                for j in range(40)
            )
            for row in cycles
        )
        # of equal ones, one is kept
        assert kept[index] <= optimal
    front = {(a, c) for row in cycles for a, c in zip(area[kept], row[kept], strict=True)}
    assert front


@pytest.mark.parametrize("chip", preset_names())
def test_library__fits_the_chip_and_holds_a_pair_that_fits_together(chip: str) -> None:
    graph, found = zoo.graph("alexnet"), load_chip(chip)
    shapes = [task_shape(graph, (op.name,), {}) for op in graph.operators if op.is_mac]
    library = build_library([s for s in shapes if s is not None], found, 1)
    areas = [f.bound_area(found) for f in library]
    assert all(area.fits(found.area) for area in areas)
    sums = [a + b for i, a in enumerate(areas) for b in areas[i + 1 :]]
    assert any(s.fits(found.area) for s in sums)
    assert any(f.lanes_in & (f.lanes_in - 1) or f.lanes_out & (f.lanes_out - 1) for f in library)


@pytest.mark.parametrize("network", ["mobilenetv2", "resnet18"])
@pytest.mark.parametrize(
    ("chip", "multipliers"), [("cgra512", 480), ("ecp5-85", 80), ("xc7z020", 144)]
)
def test_library__one_fragment_runs_a_whole_network(
    network: str, chip: str, multipliers: int
) -> None:
    """Requantisation and additions of every lane take multipliers of an FPGA; most remain."""
    problem = Problem(zoo.graph(network), chip)
    needed = {s for options in problem.choices for c in options for s in c.shape.stages}
    able = [f for f in problem.library if f.implements(needed) and Stage.MAC in f.stages]
    assert max(f.multipliers for f in able) >= multipliers


def test_area__arithmetic() -> None:
    one = Area(3, 10, 100)
    assert (one + one) - one == one
    assert one.fits(one)
    assert not one.fits(Area(3, 9, 100))


def test_library__a_shape_that_does_not_fit_hides_no_equal_one() -> None:
    # 4x64 and 16x16 take as many cycles on these layers; only 16x16 fits the accumulators
    chip = tiny(family="cgra", multipliers=256, lut=100_000, local_bytes=2 * ACC_PIXELS * 16 * 4)
    lanes = {(f.lanes_in, f.lanes_out) for f in Problem(zoo.graph("vgg16"), chip, 1).library}
    assert (16, 16) in lanes
