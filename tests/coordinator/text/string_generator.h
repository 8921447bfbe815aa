#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/base/types.h"

namespace tessera::testing {

/// Draws the strings and lists of ids that tests/oracle/text_strings.py draws from the same index.
class StringGenerator {
 public:
  /// @param pools  Content of tests/golden/text/string_pools.json.
  /// @param specials  Contents of the tokenizer's added tokens, in the order of its file.
  StringGenerator(nlohmann::json pools, std::vector<std::string> specials)
      : pools_(std::move(pools)), specials_(std::move(specials)) {}

  std::string text(std::uint64_t index) const;
  static std::vector<TokenId> ids(std::uint64_t index, std::int32_t vocab_size);

 private:
  class Draw;

  std::string piece(Draw& draw) const;

  nlohmann::json pools_;
  std::vector<std::string> specials_;
};

}  // namespace tessera::testing
