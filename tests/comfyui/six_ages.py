"""Age Sequence Encode with prompts of different lengths; whoever imports this has loaded the pack."""

import torch
from comfy.text_encoders.z_image import ZImageTokenizer
from pack.nodes.prompts import SequenceEncode
from pack.training.ages import AGE_CLASSES, SAMPLING_PROMPT, fill_prompt

PADDING = 151643  # of Qwen's vocabulary


class TokenClip:
    """Z-Image's own tokenizer, whose prompts have no fixed length; its tokens stand for their encoding."""

    def __init__(self, options=()):
        self.tokenizer, self.options = ZImageTokenizer(), dict(options)

    def clone(self):
        return TokenClip(self.options)

    def set_tokenizer_option(self, name, value):
        self.options[name] = value

    def tokenize(self, prompt):
        return self.tokenizer.tokenize_with_weights(prompt, tokenizer_options=self.options)

    def encode_from_tokens(self, tokens, return_dict):
        ((chunk,),) = tokens.values()
        numbers = torch.tensor([[[float(token)] for token, *_ in chunk]])
        return {"cond": numbers, "pooled_output": None, "attention_mask": (numbers[..., 0] != PADDING).long()}


def six_ages():
    """Tokens of every age in one batch, without the padding, and whether they are those of its own prompt."""
    clip = TokenClip()
    output = SequenceEncode.execute(clip, "child", "old", 6, "", SAMPLING_PROMPT, "sks", "person")
    (batch, extra), found = output.args[0][0], []
    for row, mask, age in zip(batch, extra["attention_mask"], AGE_CLASSES, strict=True):
        prompt = fill_prompt(SAMPLING_PROMPT, token="sks", class_word="person", age=age)
        alone = clip.encode_from_tokens(clip.tokenize(prompt), True)["cond"][0]
        found.append([len(alone), torch.equal(row[mask.bool()], alone)])
    return found
