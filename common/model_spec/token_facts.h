#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "common/base/types.h"
#include "common/model_spec/config_fields.h"

namespace tessera {

/// Largest token id of tokenizer.json + 1, added tokens included; without that file, of vocab.json
/// and the added_tokens_decoder of tokenizer_config.json; none without either.
std::optional<std::int32_t> read_tokenizer_size(const std::filesystem::path& model_dir);

/// Id of the mask token that the tokenizer files name; none if they name none.
std::optional<TokenId> read_tokenizer_mask_id(const std::filesystem::path& model_dir);

/// eos_token_id of config.json and of generation_config.json together, ascending.
std::vector<TokenId> read_eos_ids(const std::filesystem::path& model_dir,
                                  const ConfigFields& config);

}  // namespace tessera
