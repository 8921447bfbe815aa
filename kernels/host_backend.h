#pragma once

#include <array>
#include <cstring>

#include "common/base/error.h"
#include "common/tensor/padding.h"
#include "kernels/available_memory.h"
#include "kernels/op_checks.h"
#include "kernels/ops.h"
#include "kernels/tree_sum.h"

namespace tessera::kernels {

/// Memory of back ends that compute in the host's, and what is the same for all of them.
class HostBackend : public Backend {
 public:
  Buffer allocate(std::int64_t num_bytes) override { return Buffer(num_bytes); }
  void upload(const void* host, void* device, std::int64_t num_bytes) override {
    copy(host, device, num_bytes);
  }
  void download(const void* device, void* host, std::int64_t num_bytes) override {
    copy(device, host, num_bytes);
  }

  bool computes_in_host_memory() const override { return true; }
  std::int64_t memory_for_pages() const override {
    constexpr double kShare = 0.6;  // the machine has other things to do
    return static_cast<std::int64_t>(kShare * static_cast<double>(available_memory_bytes()));
  }

  void* native_stream() const override { return nullptr; }
  std::string_view physical_device() const override { return {}; }
  void watch_waits(std::function<void(std::chrono::milliseconds)>) override {}  // nothing waits

  void sum_parts(ConstMatrixView parts, std::span<float> out) override {
    check_sum_parts(parts, out);
    std::array<const float*, kNumLeaves> inputs;
    for (std::int64_t i = 0; i < parts.rows; ++i) {
      inputs[static_cast<std::size_t>(i)] = static_cast<const float*>(parts.row(i));
    }
    tree_sum({inputs.data(), static_cast<std::size_t>(parts.rows)}, out.data(), out.size());
  }

  void reserve_step_arrays(std::int64_t num_bytes) override {
    if (step_arrays_.capacity() < num_bytes) step_arrays_ = {Buffer(num_bytes), Buffer()};
  }
  StepArrays& begin_step_arrays() override {
    step_arrays_.clear();
    return step_arrays_;
  }
  void send_step_arrays() override {}

  bool has_graphs() const override { return false; }
  std::unique_ptr<StepGraph> capture(const std::function<void()>&) override {
    TESSERA_REQUIRE(false, "the ", device_name(), " back end has no graphs");
    return nullptr;
  }

  std::int64_t reserve_attention_plans(std::span<const AttentionArgs>,
                                       const AttentionRoom&) override {
    return 0;
  }
  void plan_attention(std::span<const AttentionArgs>, const AttentionRoom*) override {}

  void logit_statistics(const StoredLogits& logits,
                        std::span<const Measure> measures,
                        std::span<LogitStatistics> statistics) override {
    logit_statistics_on_host(logits, measures, statistics);
  }
  void count_digits(const StoredLogits& logits,
                    std::span<const DigitQuery> queries,
                    std::span<DigitBin> bins) override {
    count_digits_on_host(logits, queries, bins);
  }
  void drop_logits(const StoredLogits& logits, std::span<const LogitKey> cuts) override {
    drop_logits_on_host(logits, cuts);
  }

 private:
  static void copy(const void* from, void* to, std::int64_t num_bytes) {
    if (num_bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(num_bytes));
  }

  StepArrays step_arrays_;
};

}  // namespace tessera::kernels
