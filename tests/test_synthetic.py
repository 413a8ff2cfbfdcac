"""The synthetic dataset: equal seeds give equal bytes, loudness hides the labels, faults sound as engineers expect."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, hilbert, sosfiltfilt
from sklearn.metrics import roc_auc_score

from asdbench import ANOMALY, NORMAL, ConfigError, DataError, GeneratedDataset, completeness
from asdbench_datasets.synthetic.machine_sounds import noise
from asdbench_datasets.synthetic.machine_sounds.bodies import Bearing, Mode, ring
from asdbench_datasets.synthetic.machine_sounds.clips import MACHINES, SNR_SPREAD_DB
from asdbench_datasets.synthetic.machine_sounds.fan import Fan
from asdbench_datasets.synthetic.machine_sounds.gearbox import Gearbox
from asdbench_datasets.synthetic.machine_sounds.machine import Fault, Machine
from asdbench_datasets.synthetic.machine_sounds.pump import Pump
from asdbench_datasets.synthetic.machine_sounds.signals import Take, coloured, harmonics, passings, rms
from asdbench_datasets.synthetic.machine_sounds.slider import Slider
from asdbench_datasets.synthetic.machine_sounds.valve import Valve
from asdbench_datasets.synthetic.synthetic import Clip, Synthetic

RATE = 16000
Wave = NDArray[np.float64]
SMALL = Synthetic(ids=2, train_clips=2, test_clips=3, length_s=1.0, sample_rate=8000, machines="fan+valve")
ALL_FAULTS = [(machine, fault) for machine, kind in MACHINES.items() for fault in kind.faults]


def generated(dataset: Synthetic, root: Path) -> dict[str, str]:
    """Generate a dataset and return the hash of each file."""
    dataset.generate(root, lambda done, total: None)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def takes(machine: str, fault: str, *, strength: float, seconds: float = 4.0) -> tuple[Machine, Wave, Wave]:
    """Return a unit and the same take of it healthy and faulty, without noise."""
    unit = Synthetic().unit(machine, 0)
    healthy, broken = (
        unit.sound(
            Take(
                sample_rate=RATE,
                samples=int(seconds * RATE),
                rng=np.random.default_rng(1),
                fault_rng=np.random.default_rng(2),
            ),
            state,
        )
        for state in (None, Fault(name=fault, strength=strength))
    )
    return unit, healthy, broken


def level(wave: Wave, low_hz: float, high_hz: float) -> float:
    """Return the energy of a band, per sample."""
    spectrum = np.abs(np.fft.rfft(wave)) ** 2 / len(wave) ** 2
    frequencies = np.fft.rfftfreq(len(wave), 1 / RATE)
    return float(spectrum[(frequencies >= low_hz) & (frequencies < high_hz)].sum())


def envelope_level(wave: Wave, frequency_hz: float, *, low_hz: float, high_hz: float) -> float:
    """Return the strongest line near a frequency in the envelope spectrum of a band, over the median line."""
    band = sosfiltfilt(butter(4, [low_hz, high_hz], "bandpass", fs=RATE, output="sos"), wave)
    envelope = np.abs(hilbert(band)) ** 2
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
    frequencies = np.fft.rfftfreq(len(envelope), 1 / RATE)
    near = np.abs(frequencies - frequency_hz) < 0.05 * frequency_hz
    return float(spectrum[near].max() / np.median(spectrum[(frequencies > 5) & (frequencies < 500)]))


class TestGeneration:
    def test_equal_options_give_equal_bytes(self, tmp_path: Path) -> None:
        assert generated(SMALL, tmp_path / "one") == generated(SMALL, tmp_path / "two")

    def test_another_seed_gives_other_bytes_under_equal_names(self, tmp_path: Path) -> None:
        one = generated(SMALL, tmp_path / "one")
        other = generated(msgspec.structs.replace(SMALL, seed=1), tmp_path / "other")
        assert one.keys() == other.keys()
        assert not set(one.values()) & set(other.values())

    def test_a_clip_does_not_depend_on_sizes_and_selection(self, tmp_path: Path) -> None:
        small = generated(SMALL, tmp_path / "small")
        larger = Synthetic(
            ids=3, train_clips=3, test_clips=4, length_s=1.0, sample_rate=8000, machines="valve"
        )
        large = generated(larger, tmp_path / "large")
        shared = small.keys() & large.keys()
        assert len(shared) == 2 * (2 + 3 + 3)
        assert all(small[name] == large[name] for name in shared)

    def test_a_killed_run_resumes_and_ends_with_the_same_files(self, tmp_path: Path) -> None:
        class KilledError(Exception):
            pass

        def die(done: int, total: int) -> None:
            if done == 5:
                raise KilledError

        whole = generated(SMALL, tmp_path / "whole")
        with pytest.raises(KilledError):
            SMALL.generate(tmp_path / "killed", die)
        kept = next(path for path in (tmp_path / "killed").rglob("*.wav"))
        before = kept.stat().st_mtime_ns
        assert generated(SMALL, tmp_path / "killed") == whole
        assert kept.stat().st_mtime_ns == before

    def test_a_half_written_clip_does_not_count_as_finished(self, tmp_path: Path) -> None:
        whole = generated(SMALL, tmp_path / "whole")
        half = tmp_path / "again" / "fan" / "train" / "normal_id_00_00000000.wav.99.partial"
        half.parent.mkdir(parents=True)
        half.write_bytes(b"RIFF")
        again = generated(SMALL, tmp_path / "again")
        assert whole.items() <= again.items()
        assert len(list(SMALL.index(tmp_path / "again"))) == len(whole)

    def test_progress_counts_to_the_total(self, tmp_path: Path) -> None:
        steps: list[tuple[int, int]] = []
        SMALL.generate(tmp_path, lambda done, total: steps.append((done, total)))
        assert steps == [(done, 32) for done in range(1, 33)]


class TestContract:
    def test_it_is_a_generated_dataset_without_download(self) -> None:
        assert isinstance(SMALL, GeneratedDataset)
        assert SMALL.card.generated
        assert SMALL.card.remotes == ()

    def test_the_index_matches_the_counts_of_the_card(self, tmp_path: Path) -> None:
        generated(SMALL, tmp_path)
        rows = list(SMALL.index(tmp_path))
        assert completeness(SMALL.card, rows).complete
        assert Counter(row.label for row in rows) == {NORMAL: 4 * 2 + 4 * 3, ANOMALY: 4 * 3}
        assert {row.columns["section"] for row in rows} == {"00", "02"}

    def test_the_fold_trains_on_normal_clips_only_and_tests_on_both(self, tmp_path: Path) -> None:
        generated(SMALL, tmp_path)
        rows = list(SMALL.index(tmp_path))
        (fold,) = SMALL.folds(rows)
        assert {rows[at].label for at in fold.train} == {NORMAL}
        assert {rows[at].label for at in fold.test} == {NORMAL, ANOMALY}
        assert sorted([*fold.train, *fold.test]) == list(range(len(rows)))

    def test_clips_have_16_bits_and_the_given_length_and_are_not_clipped(self, tmp_path: Path) -> None:
        generated(SMALL, tmp_path)
        for row in SMALL.index(tmp_path):
            wave = SMALL.read(tmp_path, row.source)
            assert wave.dtype == np.int16
            assert wave.shape == SMALL.card.item_shape == (8000,)
            assert np.count_nonzero(np.abs(wave.astype(np.int64)) >= 32767) <= 2

    def test_an_option_out_of_range_is_refused(self) -> None:
        with pytest.raises(msgspec.ValidationError, match=r"Expected `float` <= 1.0 - at `\$.difficulty`"):
            msgspec.convert({"difficulty": 1.5}, Synthetic)

    def test_an_unknown_machine_type_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match="unknown machine type 'gearbx'; did you mean 'gearbox'"):
            Synthetic(machines="fan+gearbx")

    def test_equal_selections_are_equal_configurations(self) -> None:
        assert Synthetic(machines="pump+fan") == Synthetic(machines=("fan", "pump"))

    def test_an_empty_root_is_refused_with_the_command_that_fills_it(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no clips under .*datasets fetch synthetic"):
            list(SMALL.index(tmp_path))

    def test_a_name_that_does_not_fit_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "fan" / "train").mkdir(parents=True)
        (tmp_path / "fan" / "train" / "holiday.wav").touch()
        with pytest.raises(DataError, match=r"fan/train/holiday\.wav does not fit"):
            list(SMALL.index(tmp_path))

    def test_an_anomalous_training_clip_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "fan" / "train").mkdir(parents=True)
        (tmp_path / "fan" / "train" / "anomaly_id_00_00000000.wav").touch()
        with pytest.raises(DataError, match="anomalous clip in a training folder"):
            list(SMALL.index(tmp_path))

    def test_a_clip_at_another_rate_is_refused(self, tmp_path: Path) -> None:
        generated(SMALL, tmp_path)
        other = msgspec.structs.replace(SMALL, sample_rate=16000)
        with pytest.raises(DataError, match="sample rate of 8000 Hz, expected 16000 Hz"):
            other.read(tmp_path, PurePosixPath("fan/train/normal_id_00_00000000.wav"))


class TestMix:
    @pytest.mark.parametrize("machine", MACHINES)
    def test_the_signal_to_noise_ratio_is_the_given_one(self, machine: str) -> None:
        dataset = Synthetic(snr_db=3.0)
        for number in range(4):
            parts = dataset.parts(Clip(machine=machine, unit=0, part="train", label=NORMAL, number=number))
            measured = 20 * np.log10(rms(parts.machine) / rms(parts.noise))
            assert measured == pytest.approx(parts.snr_db, abs=0.01)
            assert abs(parts.snr_db - 3.0) <= SNR_SPREAD_DB

    def test_the_mean_ratio_of_many_clips_is_the_option(self) -> None:
        dataset = Synthetic(snr_db=-6.0, length_s=1.0)
        clips = [Clip(machine="valve", unit=0, part="train", label=NORMAL, number=at) for at in range(24)]
        measured = [20 * np.log10(rms(p.machine) / rms(p.noise)) for p in map(dataset.parts, clips)]
        assert np.mean(measured) == pytest.approx(-6.0, abs=1.0)

    def test_the_level_does_not_give_the_label(self, tmp_path: Path) -> None:
        dataset = Synthetic(
            ids=2, train_clips=1, test_clips=9, length_s=1.0, sample_rate=8000, difficulty=0.0
        )
        generated(dataset, tmp_path)
        rows = [row for row in dataset.index(tmp_path) if row.columns["part"] == "test"]
        levels = [rms(dataset.read(tmp_path, row.source).astype(np.float64)) for row in rows]
        assert 0.3 < roc_auc_score([row.label == ANOMALY for row in rows], levels) < 0.7

    def test_the_factory_sounds_different_in_every_clip(self) -> None:
        one, two = (
            noise.factory(Take(sample_rate=RATE, samples=RATE, rng=rng, fault_rng=rng))
            for rng in map(np.random.default_rng, (1, 2))
        )
        assert rms(one) == pytest.approx(1.0)
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.2

    def test_difficulty_weakens_faults_by_24_db(self) -> None:
        clip = Clip(machine="fan", unit=0, part="test", label=ANOMALY, number=0)
        easy, hard = (Synthetic(difficulty=difficulty).fault(clip) for difficulty in (0.0, 1.0))
        assert easy is not None
        assert hard is not None
        assert 20 * np.log10(easy.strength / hard.strength) == pytest.approx(24.0)

    def test_anomalous_clips_have_all_faults_of_the_type_in_turn(self) -> None:
        clips = [Clip(machine="pump", unit=1, part="test", label=ANOMALY, number=at) for at in range(6)]
        faults = [fault.name for clip in clips if (fault := Synthetic().fault(clip)) is not None]
        assert faults == [*Pump.faults, *Pump.faults]

    def test_units_of_a_type_differ_in_speed_and_resonances(self) -> None:
        fans = [Synthetic().unit("fan", unit) for unit in range(4)]
        speeds = sorted(fan.shaft_hz for fan in fans if isinstance(fan, Fan))
        assert np.diff(speeds).min() > 0.05
        assert len({fan.casing for fan in fans if isinstance(fan, Fan)}) == 4


class TestFaults:
    @pytest.mark.parametrize(("machine", "fault"), ALL_FAULTS)
    def test_every_fault_changes_the_sound_except_at_strength_0(self, machine: str, fault: str) -> None:
        _, healthy, broken = takes(machine, fault, strength=1.0, seconds=1.0)
        assert rms(broken - healthy) > 0.05 * rms(healthy)
        _, healthy, whole = takes(machine, fault, strength=0.0, seconds=1.0)
        np.testing.assert_allclose(whole, healthy, atol=1e-9)

    @pytest.mark.parametrize("sample_rate", [8000, 48000])
    @pytest.mark.parametrize(("machine", "fault"), ALL_FAULTS)
    def test_every_sound_is_finite_at_low_and_high_rates(
        self, machine: str, fault: str, sample_rate: int
    ) -> None:
        dataset = Synthetic(sample_rate=sample_rate, length_s=1.0)
        clip = Clip(machine=machine, unit=1, part="test", label=ANOMALY, number=0)
        parts = dataset.parts(clip, fault=Fault(name=fault, strength=4.0))
        assert parts.machine.shape == parts.noise.shape == (sample_rate,)
        assert np.isfinite(parts.machine + parts.noise).all()

    def test_imbalance_raises_the_first_harmonic_of_the_rotor(self) -> None:
        unit, healthy, broken = takes("fan", "imbalance", strength=1.0)
        assert isinstance(unit, Fan)
        around = (0.94 * unit.shaft_hz, 1.06 * unit.shaft_hz)
        assert level(broken, *around) > 8 * level(healthy, *around)

    @pytest.mark.parametrize("machine", ["fan", "pump"])
    def test_an_outer_race_defect_hits_at_bpfo(self, machine: str) -> None:
        unit, healthy, broken = takes(machine, "bearing", strength=1.0)
        assert isinstance(unit, Fan | Pump)
        bpfo = unit.shaft_hz * unit.bearing.outer_order
        band = {
            "low_hz": 0.8 * unit.bearing.seat.frequency_hz,
            "high_hz": 1.2 * unit.bearing.seat.frequency_hz,
        }
        assert envelope_level(broken, bpfo, **band) > 2 * envelope_level(healthy, bpfo, **band)
        assert envelope_level(broken, bpfo, **band) > 10

    def test_an_inner_race_defect_hits_at_bpfi(self) -> None:
        unit, healthy, broken = takes("gearbox", "bearing", strength=2.0)
        assert isinstance(unit, Gearbox)
        bpfi = unit.shaft_hz * unit.bearing.inner_order
        seat = unit.bearing.seat.frequency_hz
        before, after = (
            envelope_level(wave, bpfi, low_hz=0.9 * seat, high_hz=1.1 * seat) for wave in (healthy, broken)
        )
        assert after > 2 * before

    def test_a_missing_tooth_modulates_once_per_turn_of_the_pinion(self) -> None:
        unit, healthy, broken = takes("gearbox", "missing_tooth", strength=2.0)
        assert isinstance(unit, Gearbox)
        seat = unit.bearing.seat.frequency_hz
        before, after = (
            envelope_level(wave, 2 * unit.shaft_hz, low_hz=0.9 * seat, high_hz=1.1 * seat)
            for wave in (healthy, broken)
        )
        assert after > 2 * before

    def test_wear_raises_the_second_mesh_harmonic_over_the_first(self) -> None:
        unit, healthy, broken = takes("gearbox", "wear", strength=1.0)
        assert isinstance(unit, Gearbox)
        mesh = unit.shaft_hz * unit.pinion_teeth
        ratios = [
            level(wave, 1.9 * mesh, 2.1 * mesh) / level(wave, 0.93 * mesh, 1.07 * mesh)
            for wave in (healthy, broken)
        ]
        assert ratios[1] > 3 * ratios[0]

    @pytest.mark.parametrize("machine", ["pump", "valve"])
    def test_a_leak_hisses_above_3_khz(self, machine: str) -> None:
        _, healthy, broken = takes(machine, "leak", strength=1.0)
        high, low = (
            level(broken, *band) / level(healthy, *band) for band in ((3000.0, 7000.0), (50.0, 800.0))
        )
        assert high > 2 * low

    def test_a_leaking_valve_hisses_while_closed(self) -> None:
        unit, healthy, broken = takes("valve", "leak", strength=1.0)
        assert isinstance(unit, Valve)
        hiss = np.abs(broken - healthy)
        blocks = hiss[: len(hiss) // 160 * 160].reshape(-1, 160).mean(axis=1)
        silent = float(np.mean(blocks < 0.05 * blocks.max()))
        assert silent == pytest.approx(unit.open_share, abs=0.1)

    def test_a_clogged_fan_rumbles_below_450_hz(self) -> None:
        _, healthy, broken = takes("fan", "clog", strength=1.0)
        assert level(broken, 100, 450) > 2 * level(healthy, 100, 450)

    def test_a_clogged_pump_pulsates_more_and_flows_less(self) -> None:
        unit, healthy, broken = takes("pump", "clog", strength=0.5)
        assert isinstance(unit, Pump)
        passing = unit.shaft_hz * unit.vanes
        around = (0.97 * passing, 1.03 * passing)
        assert level(broken, *around) > 1.5 * level(healthy, *around)

    def test_a_stuck_valve_misses_clicks(self) -> None:
        unit, healthy, broken = takes("valve", "stuck", strength=1.0)
        assert isinstance(unit, Valve)
        band = (0.8 * unit.stop.frequency_hz, 1.2 * unit.stop.frequency_hz)
        assert level(broken, *band) < 0.9 * level(healthy, *band)

    def test_a_stuck_valve_sticks_at_least_once_in_the_shortest_clip(self) -> None:
        for seed in range(8):
            clip = Clip(machine="valve", unit=0, part="test", label=ANOMALY, number=seed)
            dataset = Synthetic(length_s=1.0)
            whole, stuck = (
                dataset.parts(clip, fault=fault) for fault in (None, Fault(name="stuck", strength=0.1))
            )
            assert rms(stuck.machine - whole.machine) > 0.1 * rms(whole.machine)

    def test_a_clogged_valve_rushes_less_and_higher(self) -> None:
        _, healthy, broken = takes("valve", "clog", strength=1.0)
        clicks = level(broken, 900, 2000) / level(healthy, 900, 2000)
        rush = level(broken, 2000, 3500) / level(healthy, 2000, 3500)
        shrill = level(broken, 5000, 7500) / level(healthy, 5000, 7500)
        assert clicks < 0.5
        assert rush < 0.5
        assert shrill > 2 * rush

    def test_damage_of_the_rail_knocks_once_per_stroke(self) -> None:
        unit, healthy, broken = takes("slider", "rail_damage", strength=1.0)
        assert isinstance(unit, Slider)
        added = np.abs(broken - healthy)
        starts = np.flatnonzero((added[1:] > 0.3 * added.max()) & (added[:-1] <= 0.3 * added.max()))
        knocks = 1 + np.count_nonzero(np.diff(starts) > 0.1 * RATE)
        assert knocks == pytest.approx(4.0 * unit.stroke_hz, abs=1.5)

    def test_a_loose_stop_rattles_only_near_the_ends_of_the_stroke(self) -> None:
        _, healthy, broken = takes("slider", "loose_stop", strength=1.0)
        added = np.abs(broken - healthy)
        assert np.mean(added > 0.05 * added.max()) < 0.3

    def test_a_dry_rail_squeals_between_3_and_4_khz(self) -> None:
        _, healthy, broken = takes("slider", "dry", strength=1.0)
        assert level(broken, 3000, 4200) > 3 * level(healthy, 3000, 4200)


class TestArithmetic:
    def test_defect_frequencies_match_the_textbook(self) -> None:
        seat = Mode(frequency_hz=3000, damping=0.05)
        bearing = Bearing(balls=9, pitch_ratio=0.2, seat=seat)
        assert bearing.outer_order == pytest.approx(3.6)
        assert bearing.inner_order == pytest.approx(5.4)
        assert bearing.outer_order + bearing.inner_order == pytest.approx(bearing.balls)

    def test_harmonics_are_the_sum_of_cosines(self) -> None:
        revolutions = np.linspace(0.0, 7.3, 1000)
        tones = np.array([1.0, 0.5 * np.exp(0.7j)])
        expected = np.cos(2 * np.pi * revolutions) + 0.5 * np.cos(4 * np.pi * revolutions + 0.7)
        wave = harmonics(revolutions, tones.astype(np.complex128), rate_hz=7.3, sample_rate=1000)
        np.testing.assert_allclose(wave, expected, atol=1e-5)

    def test_harmonics_that_would_alias_are_left_out(self) -> None:
        revolutions = np.linspace(0.0, 299.7, 1000)
        wave = harmonics(revolutions, np.ones(5, np.complex128), rate_hz=300, sample_rate=1000)
        np.testing.assert_allclose(wave, np.cos(2 * np.pi * revolutions), atol=1e-4)

    def test_passings_are_where_a_curve_crosses_whole_numbers(self) -> None:
        np.testing.assert_allclose(passings(np.array([0.5, 0.9, 1.3, 1.7, 2.1])), [1.25, 3.75])

    def test_a_struck_mode_rings_at_its_frequency_and_decays_at_its_damping(self) -> None:
        rng = np.random.default_rng(0)
        take = Take(sample_rate=RATE, samples=RATE, rng=rng, fault_rng=rng)
        wave = ring(np.array([0.0]), 1.0, mode=Mode(frequency_hz=1000, damping=0.01), take=take)
        assert np.argmax(np.abs(np.fft.rfft(wave))) == pytest.approx(1000, abs=2)
        first, later = np.abs(wave[:160]).max(), np.abs(wave[1600:1760]).max()
        assert later / first == pytest.approx(np.exp(-0.01 * 2 * np.pi * 1000 * 0.1), rel=0.1)

    def test_coloured_noise_follows_its_shape(self) -> None:
        wave = coloured(np.random.default_rng(0), lambda f: 1 / f, samples=4 * RATE, sample_rate=RATE)
        assert rms(wave) == pytest.approx(1.0)
        assert level(wave, 100, 200) / level(wave, 1000, 2000) == pytest.approx(10, rel=0.3)
