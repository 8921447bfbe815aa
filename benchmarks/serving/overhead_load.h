#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "coordinator/request/sequence_request.h"
#include "coordinator/scheduling/engine.h"
#include "strategies/strategy_registry.h"

namespace tessera {

inline constexpr std::int32_t kOverheadPageSize = 32;

/// What runs while the overhead of steps is measured: requests that decode without an end.
struct OverheadLoad {
  std::int32_t num_requests = 1;
  std::int32_t prompt_len = 100;  ///< Tokens.
  std::int32_t block_size = 4;    ///< Also the rows of a request and step: one block at a time.
  std::int32_t num_steps = 2000;  ///< To measure.

  /// More than any request writes while it is measured.
  std::int32_t max_tokens() const { return (num_steps + 500) * block_size; }
  std::int32_t max_model_len() const { return prompt_len + max_tokens(); }

  /// Enough for all requests, with one page for the end of each.
  std::int32_t num_pages() const {
    return num_requests * (max_model_len() / kOverheadPageSize + 2);
  }

  EngineOptions engine_options() const;

  /// The first strategy of the registry, which decodes block by block.
  std::string strategy_name() const;
  OptionValues strategy_options() const;
  std::shared_ptr<const Strategy> strategy() const;

  ModelFacts facts() const;

  /// No two prompts share a page.
  SequenceRequest request(RequestId id, std::shared_ptr<const Strategy> strategy) const;
};

}  // namespace tessera
