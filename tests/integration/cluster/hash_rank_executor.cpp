#include "tests/integration/cluster/hash_rank_executor.h"

#include <utility>

namespace tessera::testing {
namespace {

constexpr std::int64_t kBytesPerToken = 64;

}  // namespace

ModelFacts hash_facts() {
  ModelFacts facts;
  facts.vocab_size = 128;
  facts.tokenizer_size = 120;
  facts.mask_id = 119;
  facts.eos_ids = {118};
  facts.block_size = 4;
  return facts;
}

HashRankExecutor::HashRankExecutor(std::int32_t rank, std::string device, bool expert_parallel)
    : rank_(rank), device_(std::move(device)), expert_parallel_(expert_parallel) {}

std::int64_t HashRankExecutor::kv_bytes_per_token() const {
  return kBytesPerToken;
}

std::int64_t HashRankExecutor::kv_memory_bytes() const {
  return kBytesPerToken * kHashPageSize * (kHashNumPages + rank_);
}

void HashRankExecutor::configure(const RankConfig& config) {
  hash_.emplace(hash_facts(), kHashSeed, config.page_size, config.num_pages);
}

StepResult HashRankExecutor::run(const StepPlan& plan) {
  StepResult result = hash_->run(plan);
  if (rank_ != 0) result.spans.clear();
  return result;
}

}  // namespace tessera::testing
