"""Makes a tiny random Llama, its exports, and the reference answers. Run in a process of its own: it needs torch."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from onnxruntime_genai.models.builder import create_model, parse_extra_options
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from guideway.pipeline.stages.formats.scored import choose_scored

SENTENCES = [
    "The module heapq has heappush, which keeps a heap in order.",
    "A sluice keeper counts boats: one, two, three, and the gate is shut.",
    "Wasser fließt über die Brücke; 水从桥上流过。 Ça va très bien 🙂 aujourd'hui.",
    "def answer(question): return known[question] if question in known else None",
] * 4
TEMPLATE = (
    "{% for m in messages %}<|turn|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
CONTEXT = 320
PROMPTS = 6


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    marks = ["<|pad|>", "<|turn|>", "<|end|>"]
    made.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=400, special_tokens=marks, initial_alphabet=alphabet)
    )
    return made


def model(vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,  # far apart scores, so that rounding does not choose the token
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def reference(made: LlamaForCausalLM, vocabulary: int) -> list[dict[str, list[int]]]:
    """Prompts of many lengths (one longer than a piece of the backend) and what transformers generates for them."""
    cases = []
    for number, length in enumerate((1, 3, 17, 40, 64, 290)[:PROMPTS]):
        prompt = [3 + (number * 31 + place * place * 7) % (vocabulary - 3) for place in range(length)]
        ids = torch.tensor([prompt])
        out = made.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, eos_token_id=None
        )
        cases.append({"prompt": prompt, "answer": out[0, length:].tolist()})
    return cases


def scores(made: LlamaForCausalLM, cases: list[dict[str, list[int]]]) -> dict[str, np.ndarray]:
    """What transformers scores after every token of a prompt and its answer: float32 [tokens, vocabulary] by number."""
    with torch.inference_mode():
        rows = [made(torch.tensor([case["prompt"] + case["answer"]])).logits[0] for case in cases]
    return {str(number): row.numpy() for number, row in enumerate(rows)}


def export(source: Path, out: Path, precision: str) -> None:
    names = ("", str(source), str(out), precision, "cpu", str(out / ".cache"))
    create_model(*names, **parse_extra_options(*names, ["hf_remote=false", "hf_token=false"]))


def main(folder: Path) -> None:
    made = tokenizer()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>", pad_token="<|pad|>")
    fast.chat_template = TEMPLATE
    llama = model(made.get_vocab_size())
    llama.save_pretrained(folder / "hf")
    fast.save_pretrained(folder / "hf")
    cases = reference(llama, made.get_vocab_size())
    (folder / "reference.json").write_text(json.dumps(cases))
    np.savez(folder / "scores.npz", **scores(llama, cases))
    for precision in ("fp32", "int8"):
        export(folder / "hf", folder / precision, precision)
    shutil.copytree(folder / "fp32", folder / "chosen")
    assert choose_scored(folder / "chosen" / "model.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
