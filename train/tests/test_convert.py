"""Protects: files that PyTorch, open_clip and transformers themselves write are converted, and nothing of them is lost.

By hand: it needs torch, open_clip_torch and transformers. tests/families/test_convert.py has what needs none of them."""

import json

import numpy as np
import pytest
import torch
from checkpoints import open_clip
from checkpoints.pickles import read_torch
from convert import main
from safetensors.torch import load_file

library, transformers = pytest.importorskip("open_clip"), pytest.importorskip("transformers")

VISION = dict(image_size=16, layers=2, width=128, head_width=64, patch_size=4)
TEXT = dict(context_length=12, vocab_size=64, width=64, heads=1, layers=2)
CONFIG = dict(embed_dim=20, quick_gelu=True, vision_cfg=VISION, text_cfg=TEXT)


def model(dtype=torch.float32):
    torch.manual_seed(1)
    return library.CLIP(**CONFIG).to(dtype).eval()


def state_of(module):
    return {k: v for k, v in module.state_dict().items() if k != "attn_mask"}


def expect_same(found, state):
    assert found.keys() == state.keys()
    for name, values in state.items():
        assert found[name].dtype == values.dtype and torch.equal(found[name], values), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_save(tmp_path, dtype, zipped):
    state = state_of(model(dtype))
    torch.save(state, tmp_path / "open_clip_pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(open_clip.whole_config(CONFIG)))
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    expect_same(load_file(tmp_path / "out/open_clip_model.safetensors"), state)


def test_a_checkpoint_of_training(tmp_path):
    """With an optimizer that has run, and parameters that are Parameters."""
    clip = model()
    optimizer = torch.optim.AdamW(clip.parameters())
    clip.encode_image(torch.randn(1, 3, 16, 16)).sum().backward()
    optimizer.step()
    tree = {f"module.{name}": p for name, p in clip.named_parameters()}
    torch.save(dict(epoch=1, name="x", state_dict=tree, optimizer=optimizer.state_dict()), tmp_path / "epoch_1.pt")
    (tmp_path / "config").write_text(json.dumps(open_clip.whole_config(CONFIG)))
    assert (
        main([str(tmp_path / "epoch_1.pt"), "--out", str(tmp_path / "out"), "--config", str(tmp_path / "config")]) == 0
    )
    expect_same(
        load_file(tmp_path / "out/open_clip_model.safetensors"), {n: p.detach() for n, p in clip.named_parameters()}
    )


def test_torchscript(tmp_path):
    """As OpenAI's: traced, half precision, a module in modules."""
    clip = model()
    traced = torch.jit.trace(clip, (torch.randn(1, 3, 16, 16), torch.zeros(1, 12, dtype=torch.long)), check_trace=False)
    torch.jit.save(traced.half(), tmp_path / "ViT.pt")
    assert main([str(tmp_path / "ViT.pt"), "--out", str(tmp_path / "out")]) == 0
    found = load_file(tmp_path / "out/open_clip_model.safetensors")
    expect_same(found, {n: v.half() for n, v in state_of(clip).items()})
    config = json.loads((tmp_path / "out/open_clip_config.json").read_text())["model_cfg"]
    assert config == CONFIG | {"vision_cfg": {k: v for k, v in VISION.items() if k != "head_width"}}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_transformers(tmp_path, kind):
    small = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=1, num_attention_heads=2)
    vision, text = small | dict(image_size=16, patch_size=4), small | dict(vocab_size=64, max_position_embeddings=12)
    made = getattr(transformers, "CLIPConfig" if kind == "clip" else "SiglipConfig")(
        vision_config=vision, text_config=text
    )
    network = (transformers.CLIPModel if kind == "clip" else transformers.SiglipModel)(made)
    made.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    expect_same(
        load_file(tmp_path / "out/model.safetensors"),
        {n: v for n, v in network.state_dict().items() if not n.endswith("position_ids")},
    )


def test_views(tmp_path):
    """Transposed, a part of a larger storage, two tensors of one storage, none at all, a scalar."""
    base = torch.arange(24.0).reshape(4, 6)
    tree = dict(
        t=base.T,
        part=base[1:3, 2:5],
        same=base,
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(2.5),
        long=torch.arange(3),
    )
    for zipped in (True, False):
        torch.save(tree, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        found, script = read_torch(tmp_path / "x.pt")
        assert not script and found.keys() == tree.keys()
        for name, values in tree.items():
            assert np.array_equal(found[name].values, values.numpy())


@pytest.mark.parametrize("name", open_clip.architectures())
def test_architectures_are_the_librarys(name):
    known = library.get_model_config(name)
    ours = open_clip.architecture(name)
    defaults = dict(vision_cfg=dict(head_width=64, mlp_ratio=4.0), text_cfg=dict(mlp_ratio=4.0))
    for half, values in defaults.items():
        known[half], ours[half] = values | known[half], values | ours[half]
    known = {k: v for k, v in known.items() if k in ours or v}
    assert known == ours
