#pragma once

#include <filesystem>

#include "coordinator/text/tokenizer.h"

namespace tessera {

/// Reads the tokenizer of a model folder: tokenizer.json, or without one vocab.json, merges.txt and
/// the `added_tokens_decoder` of tokenizer_config.json, as the repositories of Dream and SDAR have
/// them. These do not say how text is cut up; that is known for `tokenizer_class` Qwen2Tokenizer
/// and DreamTokenizer: form C, the pattern of Qwen2, byte level.
///
/// @throws Error{kInvalidArgument} naming the file and the field, and what is missing.
Tokenizer load_tokenizer(const std::filesystem::path& model_dir);

}  // namespace tessera
