#pragma once

#include <filesystem>
#include <memory>

#include "coordinator/frontend/openai/served_model.h"

namespace tessera::testing {

inline std::filesystem::path tiny_model_dir() {
  return std::filesystem::path(TESSERA_SOURCE_DIR) / "deploy/models/tiny-sdar";
}

inline const Tokenizer& tiny_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::load(tiny_model_dir() / "tokenizer.json");
  return tokenizer;
}

/// The bundled model without its text side.
inline ServedModel tiny_model() {
  ServedModel model;
  model.name = "tiny";
  model.facts.tokenizer_size = tiny_tokenizer().vocab_size();
  model.facts.vocab_size = model.facts.tokenizer_size;
  model.facts.mask_id = tiny_tokenizer().token_to_id("<|MASK|>");
  model.facts.eos_ids = {*tiny_tokenizer().token_to_id("<|im_end|>")};
  model.facts.block_size = 4;
  model.page_size = 32;
  model.max_model_len = 128;
  model.default_max_tokens = 64;
  model.strategy = "multi_bd";
  return model;
}

}  // namespace tessera::testing
