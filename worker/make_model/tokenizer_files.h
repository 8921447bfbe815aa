#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace tessera {

/// Copies the tokenizer, chat template and generation_config.json of a model directory.
/// @throws Error{kInvalidArgument} if it has no tokenizer.json.
void copy_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to);

/// Gives every id below `vocab_size` that tokenizer.json of `model_dir` lacks a token of its own,
/// "<|extra_ID|>", so that the model may choose all of its vocabulary. vocab.json and merges.txt,
/// which repeat tokenizer.json, are removed.
void pad_tokenizer(const std::filesystem::path& model_dir, std::int32_t vocab_size);

/// Sets the fields of `config` that speak of tokens (eos_token_id, mask_token_id, ..., block_size)
/// to those of the model that the tokenizer comes from, where its config.json has them.
void adopt_token_ids(const std::filesystem::path& tokenizer_dir, nlohmann::ordered_json& config);

}  // namespace tessera
