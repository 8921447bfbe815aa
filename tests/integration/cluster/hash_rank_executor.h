#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/support/hash_executor.h"
#include "worker/runtime/rank_executor.h"

namespace tessera::testing {

inline constexpr std::int32_t kHashPageSize = 32;
inline constexpr std::int32_t kHashNumPages = 64;
inline constexpr std::uint64_t kHashSeed = 5;

ModelFacts hash_facts();

/// The hash model as a rank's executor. Every rank computes everything; rank 0 reports.
class HashRankExecutor : public RankExecutor {
 public:
  HashRankExecutor(std::int32_t rank, std::string device, bool expert_parallel = false);

  std::int64_t kv_bytes_per_token() const override;
  std::int64_t kv_memory_bytes() const override;  ///< Higher ranks have room for more pages.
  std::string checkpoint_digest() const override { return "hash"; }
  std::string device_name() const override { return device_; }
  bool is_expert_parallel() const override { return expert_parallel_; }
  void configure(const RankConfig& config) override;
  StepResult run(const StepPlan& plan) override;

 private:
  std::int32_t rank_;
  std::string device_;
  bool expert_parallel_;
  std::optional<HashExecutor> hash_;
};

}  // namespace tessera::testing
