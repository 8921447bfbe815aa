#include <cmath>

#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/device/warp.h"
#include "kernels/cuda/moe/moe.h"

namespace tessera::kernels::cuda {
namespace {

constexpr double kExcluded = -INFINITY;
constexpr int kMaxGroups = 64;

struct RouteRows {
  RowsView<const float> logits;
  RouterScore score;
  const float* bias;  // [experts] or null
  int num_groups;
  int groups_per_token;
  int experts_per_token;
  bool normalise;
  float scale;
  const float* expert_scale;  // [experts] or null
  std::int32_t* experts;      // out [rows, k]
  float* weights;             // out [rows, k]
};

struct Candidate {
  double rank = kExcluded;
  int expert = -1;
};

// What is not a number loses against everything.
__device__ inline Candidate better(const Candidate& a, const Candidate& b) {
  if (a.expert < 0) return b;
  if (b.expert < 0) return a;
  return b.rank > a.rank || (b.rank == a.rank && b.expert < a.expert) ? b : a;
}

/// A lane's experts: lane, lane + 32, ... One bit each.
using ExpertBits = std::uint64_t;
static_assert(kMaxRoutedExperts <= 64 * kWarpSize);

class RowRouter {
 public:
  __device__ RowRouter(const RouteRows& args, SharedMemory& memory)
      : args_(args),
        num_experts_(static_cast<int>(args.logits.cols)),
        logits_(args.logits.row(blockIdx.x)),
        ranks_(memory.take<double>(num_experts_)),
        group_sums_(memory.take<double>(kMaxGroups)) {}

  __device__ void run() {
    find_softmax();
    each_expert([&](int e, ExpertBits) {
      const double rank = score(e) + (args_.bias != nullptr ? double{args_.bias[e]} : 0.0);
      ranks_[e] = rank == rank ? rank : kExcluded;
    });
    __syncwarp();
    const ExpertBits chosen = choose(args_.groups_per_token < args_.num_groups ? barred() : 0);
    write(chosen);
  }

 private:
  // Calls visit(expert, its bit).
  template <typename Visit>
  __device__ void each_expert(const Visit& visit) const {
    ExpertBits bit = 1;
    for (int e = lane_index(); e < num_experts_; e += kWarpSize, bit <<= 1) visit(e, bit);
  }

  __device__ void find_softmax() {
    if (args_.score != RouterScore::kSoftmax) return;
    float high = -INFINITY;
    each_expert([&](int e, ExpertBits) { high = fmaxf(high, logits_[e]); });
    high_ = warp_max(high);
    double sum = 0.0;
    each_expert([&](int e, ExpertBits) { sum += exp(double{logits_[e]} - high_); });
    sum_ = warp_reduce(sum, [](double a, double b) { return a + b; });
  }

  __device__ double score(int e) const {
    const double logit = logits_[e];
    return args_.score == RouterScore::kSigmoid ? 1.0 / (1.0 + exp(-logit))
                                                : exp(logit - high_) / sum_;
  }

  // This lane's experts that lie in groups which are not kept.
  __device__ ExpertBits barred() {
    const int size = num_experts_ / args_.num_groups;
    for (int g = lane_index(); g < args_.num_groups; g += kWarpSize) {
      double first = kExcluded;
      double second = kExcluded;
      for (int e = g * size; e < (g + 1) * size; ++e) {
        const double rank = ranks_[e];
        second = fmax(second, fmin(rank, first));
        first = fmax(first, rank);
      }
      group_sums_[g] = size > 1 ? first + second : first;
    }
    __syncwarp();
    ExpertBits bits = 0;
    each_expert([&](int e, ExpertBits bit) {
      if (!is_kept(e / size)) bits |= bit;
    });
    return bits;
  }

  __device__ bool is_kept(int group) const {
    const double mine = group_sums_[group];
    int num_better = 0;
    for (int g = 0; g < args_.num_groups; ++g) {
      const double other = group_sums_[g];
      if (other > mine || (other == mine && g < group)) ++num_better;
    }
    return num_better < args_.groups_per_token;
  }

  __device__ ExpertBits choose(ExpertBits unavailable) const {
    ExpertBits chosen = 0;
    for (int i = 0; i < args_.experts_per_token; ++i) {
      Candidate best;
      each_expert([&](int e, ExpertBits bit) {
        if ((unavailable & bit) == 0) best = better(best, {ranks_[e], e});
      });
      best = warp_reduce(best, [](const Candidate& a, const Candidate& b) { return better(a, b); });
      if (best.expert % kWarpSize == lane_index()) {
        const ExpertBits bit = ExpertBits{1} << (best.expert / kWarpSize);
        chosen |= bit;
        unavailable |= bit;
      }
    }
    return chosen;
  }

  __device__ void write(ExpertBits chosen) const {
    double sum = 0.0;
    each_expert([&](int e, ExpertBits bit) {
      if ((chosen & bit) != 0) sum += score(e);
    });
    sum = warp_reduce(sum, [](double a, double b) { return a + b; });
    const std::int64_t slots = std::int64_t{blockIdx.x} * args_.experts_per_token;
    const unsigned lower_lanes = (1U << lane_index()) - 1;
    int place = 0;
    for (int first = 0; first < num_experts_; first += kWarpSize, chosen >>= 1) {
      const bool is_chosen = (chosen & 1) != 0;
      const unsigned lanes = __ballot_sync(kAllLanes, is_chosen ? 1 : 0);
      if (is_chosen) {
        const int e = first + lane_index();
        const std::int64_t slot = slots + place + __popc(lanes & lower_lanes);
        args_.experts[slot] = e;
        args_.weights[slot] = weight(e, sum);
      }
      place += __popc(lanes);
    }
  }

  __device__ float weight(int e, double sum) const {
    double weight = score(e);
    if (args_.normalise) weight /= sum;
    weight *= double{args_.scale};
    if (args_.expert_scale != nullptr) weight *= double{args_.expert_scale[e]};
    return static_cast<float>(weight);
  }

  const RouteRows& args_;
  int num_experts_;
  const float* logits_;
  SharedSpan<double> ranks_;       // [experts]
  SharedSpan<double> group_sums_;  // [groups]
  double high_ = 0.0;
  double sum_ = 1.0;
};

/// A warp routes a row, in fp64 as route_rows() does. A router's logits are few: this is a matter
/// of some microseconds, not of bytes.
__global__ __launch_bounds__(kWarpSize) void route_kernel(const RouteRows args) {
  SharedMemory memory;
  RowRouter(args, memory).run();
}

const float* data_or_null(std::span<const float> values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

void moe_route(Context& context, const RouteArgs& args) {
  check_route(args);
  launch(&route_kernel,
         {.grid_x = args.logits.rows,
          .grid_y = 1,
          .threads = kWarpSize,
          .shared_bytes = SharedMemory::bytes_of<double>(static_cast<int>(args.logits.cols)) +
                          SharedMemory::bytes_of<double>(kMaxGroups)},
         context.stream(),
         RouteRows{.logits = rows_view<const float>(args.logits),
                   .score = args.score,
                   .bias = data_or_null(args.bias),
                   .num_groups = args.num_groups,
                   .groups_per_token = args.groups_per_token,
                   .experts_per_token = args.experts_per_token,
                   .normalise = args.normalise,
                   .scale = args.scale,
                   .expert_scale = data_or_null(args.expert_scale),
                   .experts = args.experts.data(),
                   .weights = args.weights.data()});
}

}  // namespace tessera::kernels::cuda
