#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "strategies/strategy.h"
#include "tests/support/golden_file.h"

namespace tessera {

/// The strategy of a golden with its options, parity switches included.
std::unique_ptr<const Strategy> strategy_of(const Golden& golden);

/// Goldens of one strategy in a file of the goldens' directory.
std::vector<Golden> goldens_of(const std::string& strategy, const std::string& file);

/// Measures a span, as ranks would.
using SpanExecutor = std::function<std::vector<Measurement>(const Span&)>;

/// What a sequence came to.
struct Decoded {
  std::vector<TokenId> tokens;
  std::string finish_reason;
  std::int32_t num_steps = 0;
  std::int32_t num_measured_steps = 0;
  std::vector<TokenWrite> writes;     ///< of all steps, in order
  std::vector<BlockIndex> committed;  ///< of all steps, in order
};

/// Decodes a prompt to its end.
Decoded decode(const Strategy& strategy, const Golden& golden, const SpanExecutor& execute);

}  // namespace tessera
