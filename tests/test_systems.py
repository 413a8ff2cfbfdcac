"""docs/systems.md and the registry agree: the named method runs each system, and every printed system has a row."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from asdbench import Registry, Selector, config_of, configure, load_registry
from asdbench.cli import USAGE, status_of
from asdbench.recipes.resolve import resolve, resolve_ensemble
from asdbench_leaderboards.page import PAPERS, PrintedSystem, page, records
from asdbench_leaderboards.printed import printed
from asdbench_leaderboards.systems import System, systems

Capture = pytest.CaptureFixture[str]
SYSTEMS = systems()
DOCUMENT = Path(__file__).parents[1] / "docs" / "systems.md"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def named(system: System) -> str:
    return f"{system.table}, {system.board}, {system.system}"


def test_the_document_is_what_the_command_shows(capsys: Capture) -> None:
    assert status_of(["systems"]) == 0
    assert capsys.readouterr().out == DOCUMENT.read_text("utf-8"), "asdbench systems > docs/systems.md"


def test_every_printed_system_has_one_row_and_every_row_is_printed() -> None:
    keys = [system.key for system in SYSTEMS]
    assert len(set(keys)) == len(keys)
    assert {(number.paper, number.table, number.dataset, number.method) for number in printed()} == set(keys)
    assert {system.paper for system in SYSTEMS} == set(PAPERS)


@pytest.mark.parametrize("system", [system for system in SYSTEMS if system.words], ids=named)
def test_the_method_named_for_a_system_is_in_the_registry(system: System, registry: Registry) -> None:
    selector, dataset = Selector.parse(system.words), Selector.parse(system.dataset).name
    if registry.ensemble(selector.name) is not None:
        recipe = resolve_ensemble(registry, selector, dataset=dataset)
        assert not selector.options
    else:
        assert set(selector.options) <= {"preset"}, "printed values are found by method and preset"
        recipe = resolve(registry, selector, dataset=dataset)
        card = registry.build("dataset", dataset)().card
        assert recipe.common.scope in card.scopes
    assert not recipe.reduced
    assert system.status == "approximate" or not recipe.approximate


@pytest.mark.parametrize("system", SYSTEMS, ids=named)
def test_the_data_of_a_row_are_those_of_its_numbers(system: System, registry: Registry) -> None:
    dataset = Selector.parse(system.dataset)
    config = config_of(registry.build("dataset", dataset.name))
    card = configure(config, dataset.options, of=dataset.name).card
    assert card.published_as == system.board


@pytest.mark.parametrize("preset", sorted({system.preset for system in SYSTEMS if system.preset}))
def test_a_preset_runs_the_systems_of_its_tables_and_nothing_else(preset: str, registry: Registry) -> None:
    runs = registry.preset(preset).runs
    run = [(str(each.dataset), str(method)) for each in runs for method in each.methods]
    rows = [system for system in SYSTEMS if system.preset == preset]
    assert set(run) == {(str(Selector.parse(row.dataset)), str(Selector.parse(row.words))) for row in rows}
    assert len(set(run)) == len(run)


def test_every_row_that_runs_is_run_by_a_preset() -> None:
    rows = [system for system in SYSTEMS if system.paper in ("robot_aae", "waspp_net")]
    assert len(rows) == (12 + 8) + (4 * 9 + 2 * 3 + 6)
    assert [named(row) for row in SYSTEMS if bool(row.words) != bool(row.preset)] == []


@pytest.mark.parametrize("system", SYSTEMS, ids=named)
def test_a_row_states_why_it_does_not_run_or_what_is_approximate(system: System) -> None:
    assert (system.status == "reported only") == (not system.words)
    assert system.why or system.status == "runs"


def test_methods_and_rows_agree_on_printed_systems(registry: Registry) -> None:
    rows = {(system.paper, system.system, system.words) for system in SYSTEMS}
    things = [registry.method(name) for name in registry.names("method")]
    things += [ensemble for name in registry.names("ensemble") if (ensemble := registry.ensemble(name))]
    wrong = [thing.name for thing in things if thing.printed and (*thing.printed, thing.name) not in rows]
    assert wrong == []
    printed_as = {thing.name: thing.printed for thing in things}
    unnamed = {system.words for system in SYSTEMS if printed_as.get(system.words, "elsewhere") is None}
    assert unnamed == set(), "a method of a printed system must name it (printed=...)"


def test_the_command_prints_json_of_one_paper(capsys: Capture) -> None:
    assert status_of(["systems", "serial_oe", "--json"]) == 0
    rows = msgspec.json.decode(capsys.readouterr().out, type=list[PrintedSystem])
    assert {row.paper for row in rows} == {"serial_oe"}
    [mixup] = [row for row in rows if row.system == "w/o Mixup"]
    assert mixup.words == "serial_oe_wo_mixup"
    assert mixup.dataset == "dcase2021[protocol=serial_oe]"
    values = {number.groups.get("machine"): number.value for number in mixup.printed}
    assert values == pytest.approx(
        {"fan": 0.8635, "gearbox": 0.7154, "pump": 0.6652, "valve": 0.6766, "slider": 0.8188, "ToyCar": 0.5251,
         "ToyTrain": 0.599, None: 0.6775}
    )  # fmt: skip


def test_all_printed_numbers_are_on_the_page() -> None:
    assert sum(len(row.printed) for row in records()) == len(list(printed()))
    shown = page(["asd_afpa"])
    assert "| ASD-AFPA | `-p stgram_afpa` | 93.91 / 87.95 | 97.55 / 93.48 |" in shown
    assert "| fan/04 | 81.39 / 68.10 |" in shown
    assert "serial_oe" not in shown
    assert (
        "*approximate*: full text not read here of the cited paper (adversarial domain adaptation" in page()
    )


def test_no_system_is_reported_only_and_nothing_unread_counts_as_unavailable() -> None:
    assert [named(system) for system in SYSTEMS if system.status == "reported only"] == []
    assert [named(system) for system in SYSTEMS if "not public" in system.why] == []


def test_the_page_names_the_whole_and_states_once_what_is_approximate_of_all_rows() -> None:
    text = page(["waspp_net", "robot_aae"])
    assert (
        "On `-d 'kuka[window=30]'`, the whole table with `--preset robot_aae/table1`. Printed: AP / F1max / recall, %."
        in text
    )
    assert "| AE L=30 | `-p robot_ae` | 79.43 / 75.25 / 77.53 |" in text
    assert "| system | run it with | combined | casme2 | samm | smic |" in text
    assert "| SPP V | `-p 'waspp[preset=spp_v]'` | 66.89 | 84.14 | 54.55 | 61.59 |" in text
    _, _, table = text.partition("### Table 7,")
    assert "All *approximate*: epochs, initialisation, the flow's algorithm" in table.partition("###")[0]
    assert table.partition("###")[0].count("*approximate*") == 1
    assert "- base CNN, smic accuracy (the rest of the table gives 63.41): 104/164" in table
    _, _, compared = text.partition("### Table 13,")
    assert compared.count("*approximate*") == 6


def test_an_unknown_paper_is_named(capsys: Capture) -> None:
    assert status_of(["systems", "seriel_oe"]) == USAGE
    assert "unknown paper 'seriel_oe'; did you mean 'serial_oe'?" in capsys.readouterr().err
