"""Turns the BERT model of a sentence-transformers folder into a GGUF that llama.cpp loads.

usage: to_gguf.py FOLDER FILE

What stands where is as in llama.cpp's own conversion of a BertModel: matrices as F16 (as Ollama's `all-minilm` has
them), the two small embedding tables and all else as F32, and a WordPiece vocabulary with the beginning of words marked
instead of their continuation.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

# Not part of what makes a sentence's vector: the mean over its tokens does.
UNUSED = ("embeddings.position_ids", "pooler.")
KEPT_PRECISE = ("embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight")


def vocabulary(folder):
    """Each token as llama.cpp wants it, and its type."""
    special = json.loads((folder / "special_tokens_map.json").read_text()).values()
    special = {token if isinstance(token, str) else token["content"] for token in special}
    for token in (folder / "vocab.txt").read_text("utf-8").splitlines():
        if token in special:
            yield token, gguf.TokenType.CONTROL
        elif token.startswith("##"):
            yield token.removeprefix("##"), gguf.TokenType.NORMAL
        else:
            yield "\u2581" + token, gguf.TokenType.NORMAL


def describe(writer, config, pooling):
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    if not pooling["pooling_mode_mean_tokens"]:
        sys.exit("this model does not take the mean over its tokens, which is all that is known here")
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def add_vocabulary(writer, folder, config):
    tokens, types = zip(*vocabulary(folder))
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_bos_token_id(tokens.index("[CLS]"))
    writer.add_sep_token_id(tokens.index("[SEP]"))
    writer.add_unk_token_id(tokens.index("[UNK]"))
    writer.add_pad_token_id(tokens.index("[PAD]"))
    writer.add_mask_token_id(tokens.index("[MASK]"))


def add_tensors(writer, folder, config):
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        if name.startswith(UNUSED):
            continue
        is_half = tensor.ndim == 2 and name not in KEPT_PRECISE
        written = names.get_name(name, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(written, tensor.astype(np.float16 if is_half else np.float32))


def main():
    folder, file = Path(sys.argv[1]), sys.argv[2]
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(file, "bert")
    describe(writer, config, json.loads((folder / "1_Pooling" / "config.json").read_text()))
    add_vocabulary(writer, folder, config)
    add_tensors(writer, folder, config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
