"""Age Sequence Encode with prompts of different lengths. Import the extension as ``pack`` first."""

import torch
from comfy.text_encoders.z_image import ZImageTokenizer
from pack.nodes.prompts import SequenceEncode
from pack.training.ages import AGE_CLASSES, SAMPLING_PROMPT, fill_prompt

PADDING = 151643  # padding token in Qwen's vocabulary


class TokenClip:
    """Z-Image's tokenizer, which has no fixed prompt length. The encoding is the token numbers themselves."""

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
    """Returns [token count, whether the tokens without padding equal those of the prompt alone] per age."""
    clip = TokenClip()
    output = SequenceEncode.execute(clip, "child", "old", 6, "", SAMPLING_PROMPT, "sks", "person")
    (batch, extra), results = output.args[0][0], []
    for row, mask, age in zip(batch, extra["attention_mask"], AGE_CLASSES, strict=True):
        prompt = fill_prompt(SAMPLING_PROMPT, token="sks", class_word="person", age=age)
        alone = clip.encode_from_tokens(clip.tokenize(prompt), True)["cond"][0]
        results.append([len(alone), torch.equal(row[mask.bool()], alone)])
    return results
