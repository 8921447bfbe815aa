#include "tests/coordinator/scheduling/cluster_simulator.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "strategies/strategy_registry.h"

namespace tessera {
namespace {

constexpr std::int32_t kLargestBlock = 4;
constexpr std::uint32_t kMaxEvents = 60000;

}  // namespace

ClusterSimulator::ClusterSimulator(std::uint32_t seed) : rng_(seed), model_seed_(seed) {
  draw_geometry();
  engine_ = std::make_unique<Engine>(options_, clock_);
  for (ReplicaId id = 0; id < static_cast<ReplicaId>(1 + draw(3)); ++id) restore(id);
}

void ClusterSimulator::draw_geometry() {
  facts_.vocab_size = 48;
  facts_.tokenizer_size = 45;
  facts_.mask_id = 44;
  facts_.shifted = draw(2) == 0;
  facts_.canvas_length = 1 + static_cast<std::int32_t>(draw(8));
  options_.page_size = kLargestBlock * static_cast<std::int32_t>(1 + draw(3));
  options_.max_running_requests = 1 + static_cast<std::int32_t>(draw(8));
  options_.max_waiting_requests = 100;
  options_.max_step_rows = 16 + static_cast<std::int32_t>(draw(80));
  options_.prefix_cache = draw(4) != 0;
  options_.vocab_size = facts_.vocab_size;
  num_pages_ = 80 / options_.page_size + static_cast<std::int32_t>(draw(30));
  num_to_submit_ = 1 + draw(24);
  has_trouble_ = draw(3) != 0;
  prefixes_.resize(3);
  for (auto& prefix : prefixes_) {
    prefix.resize(draw(40));
    for (TokenId& token : prefix) token = static_cast<TokenId>(draw(45));
  }
}

SequenceRequest ClusterSimulator::random_request() {
  SequenceRequest request;
  request.id = requests_.size() + 1;
  request.prompt = prefixes_[draw(3)];
  const std::uint32_t tail = 1 + draw(20);
  for (std::uint32_t i = 0; i < tail; ++i) {
    request.prompt.push_back(static_cast<TokenId>(draw(45)));
  }
  request.strategy = random_strategy();
  request.sampling.temperature = draw(2) == 0 ? 0.0F : 0.8F;
  request.sampling.seed = draw(1000);
  request.limits.max_tokens = 1 + static_cast<std::int32_t>(draw(40));
  request.limits.max_model_len = 1000;
  if (draw(2) == 0) request.limits.eos_ids = {1, 2};
  request.priority = static_cast<std::int32_t>(draw(3)) - 1;
  if (has_trouble_ && draw(8) == 0) {
    request.deadline = clock_.now() + std::chrono::milliseconds(draw(100));
  }
  return request;
}

std::unique_ptr<const Strategy> ClusterSimulator::random_strategy() {
  const auto num_strategies = static_cast<std::uint32_t>(strategy_registry().size());
  const StrategyEntry* entry = &strategy_registry()[draw(num_strategies)];
  while (!entry->refusal(facts_).empty()) entry = &strategy_registry()[draw(num_strategies)];
  OptionValues options{{"block_size", std::int64_t{1} << draw(3)},
                       {"buffer_size", std::int64_t{2 + draw(3)}},
                       {"accept_threshold", 0.1 * draw(10)},
                       {"max_post_edit_steps", std::int64_t{4}},
                       {"max_denoising_steps", std::int64_t{1 + draw(5)}}};
  std::erase_if(options, [&](const auto& option) {
    return std::ranges::find(entry->options, option.first, &OptionSpec::name) ==
           entry->options.end();
  });
  return create_strategy(entry->name, facts_, options);
}

void ClusterSimulator::submit_one() {
  SimulatedRequest simulated;
  simulated.request = random_request();
  engine_->submit(simulated.request);
  requests_.emplace(simulated.request.id, std::move(simulated));
  ++num_open_;
}

void ClusterSimulator::cancel_one() {
  if (requests_.empty()) return;
  const RequestId id = 1 + draw(static_cast<std::uint32_t>(requests_.size()));
  requests_.at(id).was_cancelled = true;  // finished ones as well: the client may be slower
  engine_->cancel(id);
}

void ClusterSimulator::restore(ReplicaId id) {
  Rank& rank = replicas_[id];
  rank.executor =
      std::make_unique<HashExecutor>(facts_, model_seed_, options_.page_size, num_pages_);
  rank.is_up = true;
  engine_->add_replica(id, next_epoch_++, num_pages_);
}

void ClusterSimulator::lose_or_restore(ReplicaId id) {
  Rank& rank = replicas_.at(id);
  if (!rank.is_up) {
    restore(id);
    return;
  }
  if (rank.result.has_value()) late_.emplace_back(id, *std::exchange(rank.result, std::nullopt));
  rank.is_up = false;
  engine_->remove_replica(id);
}

void ClusterSimulator::step(ReplicaId id) {
  Rank& rank = replicas_.at(id);
  if (!rank.is_up) return;
  if (rank.result.has_value()) {
    engine_->apply(id, *std::exchange(rank.result, std::nullopt));
    return;
  }
  const std::optional<StepPlan> plan = engine_->next_step(id);
  if (plan.has_value()) rank.result = rank.executor->run(*plan);
}

void ClusterSimulator::act() {
  const auto replica = static_cast<ReplicaId>(draw(static_cast<std::uint32_t>(replicas_.size())));
  const std::uint32_t event = draw(100);
  if (event < 10 && requests_.size() < num_to_submit_) {
    submit_one();
  } else if (has_trouble_ && event < 11) {
    cancel_one();
  } else if (has_trouble_ && event < 12) {
    lose_or_restore(replica);
  } else if (event < 14 && !late_.empty()) {
    const auto [id, result] = late_.back();
    late_.pop_back();
    engine_->apply(id, result);
  } else if (event < 18) {
    clock_.advance(std::chrono::milliseconds(1));
    engine_->expire();
  } else {
    step(replica);
  }
}

void ClusterSimulator::take_updates() {
  for (SequenceUpdate& update : engine_->take_updates()) {
    SimulatedRequest& simulated = requests_.at(update.id);
    TESSERA_CHECK(!simulated.last.has_value(), "request ", update.id, " has news after its end");
    simulated.tokens.insert(simulated.tokens.end(), update.frozen.begin(), update.frozen.end());
    if (!update.is_last()) continue;
    simulated.last = std::move(update);
    --num_open_;
  }
}

bool ClusterSimulator::run() {
  for (std::uint32_t event = 0; event < kMaxEvents; ++event) {
    act();
    engine_->check_integrity();
    take_updates();
    if (requests_.size() == num_to_submit_ && num_open_ == 0) return true;
    // A cluster whose replicas are all gone for good cannot make progress.
    if (event % 500 == 499) {
      for (auto& [id, rank] : replicas_) {
        if (!rank.is_up) restore(id);
      }
    }
  }
  return false;
}

}  // namespace tessera
