"""Stage I: its losses by their formulas, what the adversary does, the paper's backbone, and that no mask enters."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from safetensors.torch import load_file, save_file  # noqa: E402

from clear_rt.errors import ConfigError, WeightsError  # noqa: E402
from training import losses  # noqa: E402
from training.networks import StageOne, StageOneNetwork  # noqa: E402
from training.networks_resnet import ResNetStageOne  # noqa: E402
from training.prior import PRESETS, Crops, Trainer, batches, train  # noqa: E402
from training.resnet import ResNet50, load_resnet  # noqa: E402

LOW = dataclasses.replace(PRESETS["resnet50"], seed=3, steps=1, stages=1, batch=2, accumulate=2)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def run(tmp_path):
    """A run folder with seven shards of two crops of 64 x 96, the sixth for validation."""
    (tmp_path / "run" / "pairs").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(7):
        crops = rng.integers(0, 256, (2, 64, 96, 7), np.uint8)
        crops[..., 6] = 0
        crops[:, 40:50, 20:70, 6] = 1
        np.save(tmp_path / "run" / "pairs" / f"shard-{number:03d}.npy", crops)
    return tmp_path / "run"


def test_the_layout_of_the_small_network_is_that_of_earlier_checkpoints():
    """Names, shapes and order, and with them the random sequence, of the network behind the embedded prior."""
    layout = "\n".join(f"{name} {list(tensor.shape)}" for name, tensor in StageOne().state_dict().items())
    assert hashlib.sha256(layout.encode()).hexdigest()[:16] == "fc8573a3fb161ad9"


@pytest.mark.parametrize(("alpha", "gamma"), [(0.75, 2.0), (0.85, 1.0)])
def test_focal_is_its_formula(alpha, gamma):
    logits, label = drawn(2, 1, 3, 5), (drawn(2, 1, 3, 5, seed=1) > 0).double()
    terms = []
    for logit, truth in zip(logits.flatten().tolist(), label.flatten().tolist(), strict=True):
        p = 1 / (1 + np.exp(-logit))
        right = p if truth else 1 - p
        terms.append((alpha if truth else 1 - alpha) * (1 - right) ** gamma * -np.log(right))
    assert losses.focal(logits, label, alpha, gamma).item() == pytest.approx(np.mean(terms), rel=1e-12)


def test_dice_is_near_0_for_the_label_itself_and_near_1_for_its_opposite():
    label = (drawn(2, 1, 16, 16) > 0).double()
    assert losses.dice(100 * (2 * label - 1), label).item() == pytest.approx(0, abs=1e-9)
    assert losses.dice(-100 * (2 * label - 1), label).item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("stride", [4, 8])
def test_the_total_is_the_papers_sum(stride):
    """L_ortho + 0.5 L_adv + L_region + 0.1 L_recon, whatever the stride at which the adversary looks."""
    rows, columns = 16 // stride, 24 // stride
    out = {
        "logits": drawn(2, 1, 16, 24),
        "subtitle": drawn(2, 5, rows, columns, seed=1),
        "content": drawn(2, 5, rows, columns, seed=2),
        "rebuilt": drawn(2, 3, 16, 24, seed=3),
        "adversary": drawn(2, 1, rows, columns, seed=4),
    }
    clean, label = drawn(2, 3, 16, 24, seed=5), (drawn(2, 1, 16, 24, seed=6) > 1.5).double()
    found = losses.stage_one(out, clean, label)
    products, adversary = [], []
    for b, y, x in np.ndindex(2, rows, columns):
        products.append((out["subtitle"][b, :, y, x] @ out["content"][b, :, y, x]).item() ** 2)
        square = label[b, 0, stride * y : stride * (y + 1), stride * x : stride * (x + 1)]
        logit, truth = out["adversary"][b, 0, y, x].item(), square.max().item()
        adversary.append(np.log1p(np.exp(-logit if truth else logit)))
    region = 8 * losses.focal(out["logits"], label) + 1.5 * losses.dice(out["logits"], label)
    recon = (out["rebuilt"] - clean).abs().mean()
    expected = np.mean(products) + 0.5 * np.mean(adversary) + region.item() + 0.1 * recon.item()
    assert found["total"].item() == pytest.approx(expected, rel=1e-10)


def test_the_adversary_learns_to_find_text_and_the_content_encoder_to_hide_it():
    """Down the same loss the discriminator goes as it is, the encoder the other way; neither reaches the prior."""
    torch.manual_seed(0)
    model = StageOne().double().eval()
    picture, label = drawn(1, 3, 32, 48), torch.zeros(1, 1, 8, 12, dtype=torch.float64)
    label[..., 4:6, 3:9] = 1

    def adversary(logits):
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, label)

    adversary(model(picture)["adversary"]).backward()
    reversed_ = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    adversary(model.discriminator(model.content(picture))).backward()
    plain = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert reversed_.keys() == plain.keys()
    assert {name.split(".")[0] for name in plain} == {"content", "discriminator"}
    for name, gradient in plain.items():
        sign = -1 if name.startswith("content") else 1
        torch.testing.assert_close(reversed_[name], sign * gradient, rtol=1e-12, atol=1e-15)


def test_no_mask_enters_training():
    """A network is shown the subtitled picture, its losses the clean twin and what differs; nothing else comes in."""
    assert list(inspect.signature(StageOneNetwork.forward).parameters) == ["self", "subtitled"]
    assert list(inspect.signature(losses.stage_one).parameters) == ["out", "clean", "label"]
    for rule in (losses.pseudo_label, losses.paper_label):
        assert list(inspect.signature(rule).parameters) == ["subtitled", "clean"]


def test_the_papers_label_is_mean_plus_deviation_of_the_length_of_the_difference():
    rng = np.random.default_rng(0)
    clean = rng.integers(40, 200, (90, 160, 3), np.uint8)
    subtitled = clean.copy()
    subtitled[60:70, 30:120, 1] += 50
    label = losses.paper_label(subtitled, clean)
    length = np.sqrt(np.square(subtitled.astype(float) - clean).sum(2)) / 255
    np.testing.assert_array_equal(label, length > length.mean() + length.std())
    assert label.sum() == 10 * 90
    assert losses.paper_label(clean, clean) is None


def test_the_papers_network_has_the_trunks_of_torchvision_and_the_shapes_of_the_small_one():
    """ResNet-50 without its classifier: 23,508,032 parameters in 318 tensors (25,557,032 less 2,049,000)."""
    with torch.device("meta"):
        model, trunk = ResNetStageOne(), ResNet50()
        out = model(torch.empty(2, 3, 64, 96))
        small = StageOne()(torch.empty(2, 3, 64, 96))
    assert sum(p.numel() for p in trunk.parameters()) == 23_508_032
    state = trunk.state_dict()
    assert len(state) == 318
    assert tuple(state["layer1.0.downsample.0.weight"].shape) == (256, 64, 1, 1)
    assert tuple(state["layer4.2.conv2.weight"].shape) == (512, 512, 3, 3)
    assert state["layer3.5.bn3.running_var"].shape == (1024,)
    assert [m.shape[1:] for m in trunk(torch.empty(1, 3, 64, 96, device="meta"))] == [
        (512, 8, 12),
        (1024, 4, 6),
        (2048, 2, 3),
    ]
    assert out.keys() == small.keys()
    for name in ("logits", "rebuilt"):
        assert out[name].shape == small[name].shape
    assert out["subtitle"].shape == out["content"].shape == (2, 256, 8, 12)
    assert out["adversary"].shape == (2, 1, 8, 12)


def test_a_step_of_the_papers_network_teaches_every_part_of_it(run):
    trainer = Trainer(run, LOW)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    (share,) = batches(Crops(run / "pairs"), LOW, range(1))
    terms = trainer.advance(*share)
    assert trainer.step == 1
    assert terms.keys() == {"region", "ortho", "adversary", "recon", "total"}
    assert all(np.isfinite(value) for value in terms.values())
    assert not [name for name, p in trainer.model.named_parameters() if torch.equal(p, before[name])]
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_the_papers_network_leaves_the_map_alone_and_no_bundle(run):
    trainer = Trainer(run, dataclasses.replace(LOW, steps=0))
    train(trainer, 1, None)
    left, prior = load_file(run / "prior.safetensors"), trainer.average.module.prior.state_dict()
    assert left.keys() == {name for name in prior if not name.endswith("num_batches_tracked")}
    assert all(torch.equal(left[name], prior[name]) for name in left)
    assert not (run / "clear-tiny").exists()


def test_a_checkpoint_from_before_there_were_backbones_is_of_the_small_one(run):
    trainer = Trainer(run, dataclasses.replace(PRESETS["small"], seed=3))
    trainer.save()
    saved = torch.load(run / "checkpoint.pt")
    for name in ("backbone", "backbone_weights", "accumulate", "warm_up_steps"):
        del saved["config"][name]
    torch.save(saved, run / "checkpoint.pt")
    assert Trainer(run, dataclasses.replace(PRESETS["small"], seed=3)).step == 0
    with pytest.raises(ConfigError, match=r"trained with .*backbone small"):
        Trainer(run, dataclasses.replace(LOW, steps=7200))


def test_batches_of_a_step_are_those_of_so_many_steps_of_one(run):
    crops = Crops(run / "pairs")
    single = [share[0] for share in batches(crops, dataclasses.replace(LOW, accumulate=1), range(4))]
    shared = [batch for share in batches(crops, LOW, range(2)) for batch in share]
    for one, other in zip(single, shared, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_imagenet_weights_load_by_torchvisions_names_and_others_are_a_sentence(tmp_path):
    torch.manual_seed(0)
    given, trunk = ResNet50(), ResNet50()
    stored = {n: t for n, t in given.state_dict().items() if not n.endswith("num_batches_tracked")}
    classifier = {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    save_file(stored | classifier, tmp_path / "resnet50.safetensors")
    load_resnet(trunk, tmp_path / "resnet50.safetensors")
    assert all(torch.equal(t, stored[n]) for n, t in trunk.state_dict().items() if n in stored)
    del stored["layer4.2.conv3.weight"]
    save_file(stored, tmp_path / "less.safetensors")
    with pytest.raises(WeightsError, match=r"found 1 missing \(layer4\.2\.conv3\.weight\)"):
        load_resnet(trunk, tmp_path / "less.safetensors")
