#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "benchmarks/kernels_cuda/reporter.h"
#include "kernels/cuda/attention/block_attention.h"
#include "kernels/visibility.h"

namespace tessera::benchmarks {
namespace {

namespace cuda = kernels::cuda;

constexpr std::int32_t kPageSize = 32;
constexpr std::int64_t kCacheBytes = 256 << 20;  // more than any L2

struct Heads {
  std::int32_t num_q_heads;
  std::int32_t num_kv_heads;
  std::int32_t head_dim;
};

constexpr Heads kSdar8b = {32, 8, 128};

std::string name_of(const Heads& heads) {
  return std::to_string(heads.num_q_heads) + "/" + std::to_string(heads.num_kv_heads) + " x " +
         std::to_string(heads.head_dim);
}

// Requests of equal rows behind equal contexts; the pages of a run are others than the last's.
class Requests {
 public:
  Requests(kernels::Backend& backend,
           const Heads& heads,
           std::int32_t num_requests,
           std::int32_t context,
           std::int32_t num_rows,
           MaskKind mask)
      : heads_(heads), rows_(std::int64_t{num_requests} * num_rows) {
    const std::int64_t slot_bytes = std::int64_t{heads.num_kv_heads} * heads.head_dim * 2;
    const std::int32_t pages = context / kPageSize;
    const std::int64_t set_bytes = 2 * slot_bytes * num_requests * context;
    num_sets_ = set_bytes == 0 ? 1 : std::max<std::int64_t>(1, kCacheBytes / set_bytes);
    num_pages_ = static_cast<std::int32_t>(num_sets_ * num_requests * pages);
    k_pages_ = random_bf16(backend, num_pages_ * kPageSize * slot_bytes / 2);
    v_pages_ = random_bf16(backend, num_pages_ * kPageSize * slot_bytes / 2);
    q_ = random_bf16(backend, rows_ * heads.num_q_heads * heads.head_dim);
    k_ = random_bf16(backend, rows_ * heads.num_kv_heads * heads.head_dim);
    v_ = random_bf16(backend, rows_ * heads.num_kv_heads * heads.head_dim);
    out_ = backend.allocate(rows_ * heads.num_q_heads * heads.head_dim * 2);
    // A stride that is prime to the number of pages: neighbours lie apart.
    table_.resize(static_cast<std::size_t>(num_pages_));
    std::int64_t stride = 7919;
    while (num_pages_ > 0 && std::gcd<std::int64_t, std::int64_t>(stride, num_pages_) > 1) ++stride;
    for (std::size_t i = 0; i < table_.size(); ++i) {
      table_[i] = static_cast<PageId>(static_cast<std::int64_t>(i) * stride % num_pages_);
    }
    for (std::int64_t i = 0; i < num_sets_ * num_requests; ++i) {
      kernels::AttentionSpan span;
      span.first_row = i % num_requests * num_rows;
      span.num_rows = num_rows;
      span.first = span.cache_len = context;
      span.mask = mask;
      span.mask_block = 32;
      span.page_table = std::span(table_).subspan(static_cast<std::size_t>(i * pages),
                                                  static_cast<std::size_t>(pages));
      spans_.push_back(span);
    }
    spans_of_set_ = num_requests;
  }

  kernels::AttentionArgs args(int run) const {
    const auto view = [&](const kernels::Buffer& buffer, std::int32_t heads) {
      const std::int64_t cols = std::int64_t{heads} * heads_.head_dim;
      return MatrixView{buffer.data(), DType::kBFloat16, rows_, cols, cols};
    };
    kernels::AttentionArgs args;
    args.q = view(q_, heads_.num_q_heads);
    args.k = view(k_, heads_.num_kv_heads);
    args.v = view(v_, heads_.num_kv_heads);
    args.out = view(out_, heads_.num_q_heads);
    args.pages = {k_pages_.data(), v_pages_.data(),     num_pages_,
                  kPageSize,       heads_.num_kv_heads, heads_.head_dim};
    args.num_q_heads = heads_.num_q_heads;
    args.scale = 1.0F / std::sqrt(static_cast<float>(heads_.head_dim));
    args.spans = std::span(spans_).subspan(
        static_cast<std::size_t>(run % num_sets_) * spans_of_set_, spans_of_set_);
    return args;
  }

  /// Inputs that take turns. They stay few enough for all their plans to be staged.
  int num_sets() const { return static_cast<int>(num_sets_); }

  double bytes() const {
    double keys = 0.0;
    for (const kernels::AttentionSpan& span : args(0).spans) {
      keys += span.cache_len + span.num_rows;
    }
    const double kv = 2.0 * heads_.num_kv_heads * keys;
    const double q = 2.0 * heads_.num_q_heads * static_cast<double>(rows_);
    return 2.0 * heads_.head_dim * (kv + q);
  }

  double flops() const {
    double pairs = 0.0;
    for (const kernels::AttentionSpan& span : args(0).spans) {
      for (Position i = span.first; i < span.first + span.num_rows; ++i) {
        const kernels::Visibility sees = kernels::visibility(span, i, /*window=*/0);
        pairs += sees.cached.size() + sees.fresh.size();
      }
    }
    return 4.0 * heads_.head_dim * heads_.num_q_heads * pairs;
  }

 private:
  Heads heads_;
  std::int64_t rows_;
  std::int64_t num_sets_ = 1;
  std::int32_t num_pages_ = 0;
  kernels::Buffer k_pages_, v_pages_, q_, k_, v_, out_;
  std::vector<PageId> table_;
  std::vector<kernels::AttentionSpan> spans_;
  std::size_t spans_of_set_ = 0;
};

// Launches of plans that are on the device, as the layers of a step have them.
void attention_case(Reporter& reporter,
                    const Heads& heads,
                    std::int32_t num_requests,
                    std::int32_t context,
                    std::int32_t num_rows,
                    MaskKind mask,
                    const std::string& name) {
  const Requests requests(reporter.backend(), heads, num_requests, context, num_rows, mask);
  cuda::Context device(reporter.is_deterministic());
  std::vector<cuda::StagedPlan> plans;
  for (int set = 0; set < requests.num_sets(); ++set) {
    const kernels::AttentionArgs args = requests.args(set);
    const cuda::PlanShape shape =
        cuda::attention_plan_shape(device, args.pages, args.num_q_heads, num_rows);
    cuda::AttentionPlan plan;
    cuda::plan_attention(args, shape, plan);
    plans.push_back(cuda::stage_plan(device, plan, shape));
  }
  const auto launch_all = [&] {
    for (int set = 0; set < requests.num_sets(); ++set) {
      cuda::launch_attention(device, requests.args(set), plans[static_cast<std::size_t>(set)]);
    }
  };
  launch_all();  // scratch memory grows
  device.wait();
  const auto graph = device.capture(launch_all);
  reporter.row(
      name + ", " + name_of(heads) + ", " + std::to_string(num_requests) + " x " +
          std::to_string(num_rows) + " rows over " + std::to_string(context),
      requests.bytes(), requests.flops(), [&](int) { graph->launch(device.stream()); },
      requests.num_sets(), [&] { device.wait(); });
}

void qkv_case(Reporter& reporter, std::int64_t rows) {
  const Heads& heads = kSdar8b;
  kernels::Backend& backend = reporter.backend();
  const std::int64_t q_cols = std::int64_t{heads.num_q_heads} * heads.head_dim;
  const std::int64_t kv_cols = std::int64_t{heads.num_kv_heads} * heads.head_dim;
  const std::int64_t cols = q_cols + 2 * kv_cols;
  constexpr std::int64_t kSets = 4;
  constexpr std::int64_t kMaxPositions = 8192;
  const auto num_pages = static_cast<std::int32_t>((rows + kPageSize - 1) / kPageSize);
  const kernels::Buffer qkv = random_fp32(backend, kSets * rows * cols);
  const kernels::Buffer norm = random_fp32(backend, heads.head_dim);
  const kernels::Buffer rope = random_fp32(backend, kMaxPositions * heads.head_dim);
  const kernels::Buffer q = backend.allocate(kSets * rows * q_cols * 2);
  const kernels::Buffer kv = backend.allocate(2 * kSets * rows * kv_cols * 2);
  const kernels::Buffer pages = backend.allocate(2 * num_pages * kPageSize * kv_cols * 2);
  // As in a model, whose layers share them.
  backend.reserve_step_arrays(kernels::StepArrays::bytes_of<Position>(rows) +
                              kernels::StepArrays::bytes_of<std::int64_t>(rows));
  kernels::StepArrays& arrays = backend.begin_step_arrays();
  const auto positions = arrays.take<Position>(rows);
  std::iota(positions.begin(), positions.end(), 2048);
  const auto slots = arrays.take<std::int64_t>(rows);
  std::iota(slots.begin(), slots.end(), 0);
  backend.send_step_arrays();
  const double bytes = static_cast<double>(rows) *
                       (6.0 * static_cast<double>(cols) + 4.0 * static_cast<double>(kv_cols));
  reporter.row("qk_norm_rope_store, " + std::to_string(rows) + " rows", bytes, 0, [&](int run) {
    const std::int64_t set = run % kSets;
    const auto half = [&](const kernels::Buffer& buffer, std::int64_t index, std::int64_t width) {
      return MatrixView{buffer.as<std::uint16_t>() + index * rows * width, DType::kBFloat16, rows,
                        width, width};
    };
    kernels::QkvArgs args;
    args.qkv = {qkv.as<float>() + set * rows * cols, DType::kFloat32, rows, cols, cols};
    args.num_q_heads = heads.num_q_heads;
    args.q_norm = args.k_norm = norm.values<const float>();
    args.rope = {rope.data(), DType::kFloat32, kMaxPositions, heads.head_dim, heads.head_dim};
    args.positions = positions;
    args.slots = slots;
    args.q = half(q, set, q_cols);
    args.k = half(kv, 2 * set, kv_cols);
    args.v = half(kv, 2 * set + 1, kv_cols);
    args.pages = {pages.data(),       pages.as<std::uint16_t>() + num_pages * kPageSize * kv_cols,
                  num_pages,          kPageSize,
                  heads.num_kv_heads, heads.head_dim};
    backend.qk_norm_rope_store(args);
  });
}

}  // namespace

void attention_cases(Reporter& reporter) {
  for (const std::int64_t rows : {32, 512, 2048}) qkv_case(reporter, rows);
  // 8 GiB of K and V at most.
  constexpr std::int64_t kMostPositions = 2 << 20;
  for (const Heads& heads : {kSdar8b, Heads{32, 4, 128}}) {
    for (const std::int32_t context : {2048, 8192, 32768, 131072}) {
      for (const std::int32_t requests : {1, 8, 16, 64}) {
        if (std::int64_t{requests} * context > kMostPositions) continue;
        attention_case(reporter, heads, requests, context, 32, MaskKind::kBlockCausal, "decode");
      }
    }
  }
  attention_case(reporter, kSdar8b, 1, 2048, 128, MaskKind::kBlockCausal, "decode");
  for (const Heads& heads : {Heads{32, 8, 64}, Heads{16, 8, 256}, Heads{16, 4, 512}}) {
    attention_case(reporter, heads, 16, 8192, 32, MaskKind::kBlockCausal, "decode");
    attention_case(reporter, heads, 1, 0, 8192, MaskKind::kCausal, "causal prefill");
  }
  attention_case(reporter, kSdar8b, 1, 0, 8192, MaskKind::kCausal, "causal prefill");
  attention_case(reporter, kSdar8b, 1, 0, 8192, MaskKind::kFull, "full prefill");
  attention_case(reporter, kSdar8b, 1, 0, 8192, MaskKind::kBlockCausal, "block-causal prefill");
}

}  // namespace tessera::benchmarks
