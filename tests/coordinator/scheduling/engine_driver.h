#pragma once

#include <map>
#include <optional>
#include <vector>

#include "coordinator/scheduling/engine.h"
#include "strategies/strategy_registry.h"
#include "tests/coordinator/scheduling/manual_clock.h"
#include "tests/support/hash_executor.h"

namespace tessera {

/// One engine, one replica that runs the hash model, and what became of the requests. Integrity is
/// checked after every step.
class EngineDriver {
 public:
  EngineDriver(const EngineOptions& options, std::int32_t num_pages)
      : engine(options, clock), executor_(facts(), kSeed, options.page_size, num_pages) {
    engine.add_replica(0, 1, num_pages);
  }

  static ModelFacts facts() {
    ModelFacts facts;
    facts.vocab_size = 48;
    facts.tokenizer_size = 45;
    facts.mask_id = 44;
    return facts;
  }

  /// A request of blocks of 4 that no EOS ends; prompts of other `flavour` share no block.
  static SequenceRequest request(RequestId id,
                                 std::int32_t prompt_len,
                                 std::int32_t max_tokens,
                                 std::int64_t buffer_size = 1,
                                 std::int32_t flavour = 0) {
    SequenceRequest request;
    request.id = id;
    for (std::int32_t i = 0; i < prompt_len; ++i) {
      request.prompt.push_back((i * 7 + flavour * 11) % 44);
    }
    request.strategy = create_strategy(
        "multi_bd", facts(), {{"block_size", std::int64_t{4}}, {"buffer_size", buffer_size}});
    request.limits.max_tokens = max_tokens;
    request.limits.max_model_len = 1000;
    return request;
  }

  /// The next step, run and applied; its plan. None when nothing is to do.
  std::optional<StepPlan> step() {
    std::optional<StepPlan> plan = engine.next_step(0);
    if (!plan) return plan;
    engine.check_integrity();
    engine.apply(0, executor_.run(*plan));
    engine.check_integrity();
    collect();
    return plan;
  }

  void run_until_idle() {
    while (!engine.is_idle() && step()) {
    }
  }

  void collect() {
    for (SequenceUpdate& update : engine.take_updates()) {
      auto& tokens = tokens_[update.id];
      tokens.insert(tokens.end(), update.frozen.begin(), update.frozen.end());
      if (update.is_last()) last_[update.id] = std::move(update);
    }
  }

  /// The last update of the request, if it has ended.
  const SequenceUpdate* last(RequestId id) {
    collect();
    const auto found = last_.find(id);
    return found == last_.end() ? nullptr : &found->second;
  }

  const std::vector<TokenId>& tokens(RequestId id) { return tokens_[id]; }

  /// Ids of the requests with rows in the step.
  static std::vector<RequestId> ids_of(const StepPlan& plan) {
    std::vector<RequestId> ids;
    for (const SequenceSpan& span : plan.spans) ids.push_back(span.request);
    return ids;
  }

  ManualClock clock;
  Engine engine;

 private:
  static constexpr std::uint64_t kSeed = 9;

  HashExecutor executor_;
  std::map<RequestId, std::vector<TokenId>> tokens_;
  std::map<RequestId, SequenceUpdate> last_;
};

}  // namespace tessera
