#include "kernels/moe.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "common/base/error.h"

namespace tessera::kernels {
namespace {

constexpr std::int32_t kMaxGroups = 64;
constexpr double kExcluded = -std::numeric_limits<double>::infinity();

double score_of(
    const RouteArgs& args, const float* logits, double high, double sum, std::int64_t e) {
  const double logit = logits[e];
  return args.score == RouterScore::kSigmoid ? 1.0 / (1.0 + std::exp(-logit))
                                             : std::exp(logit - high) / sum;
}

/// Scores of one row, computed as they are asked for: a row of hundreds of experts needs no memory.
class RowScores {
 public:
  RowScores(const RouteArgs& args, std::int64_t row)
      : args_(args), logits_(static_cast<const float*>(args.logits.row(row))) {
    if (args.score != RouterScore::kSoftmax) return;
    high_ = *std::max_element(logits_, logits_ + args.logits.cols);
    sum_ = 0.0;
    for (std::int64_t e = 0; e < args.logits.cols; ++e) {
      sum_ += std::exp(double{logits_[e]} - high_);
    }
  }

  double score(std::int64_t e) const { return score_of(args_, logits_, high_, sum_, e); }
  double rank(std::int64_t e) const {
    return score(e) + (args_.bias.empty() ? 0.0 : double{args_.bias[static_cast<std::size_t>(e)]});
  }

 private:
  const RouteArgs& args_;
  const float* logits_;
  double high_ = 0.0;
  double sum_ = 1.0;
};

std::array<bool, kMaxGroups> kept_groups(const RouteArgs& args, const RowScores& scores) {
  std::array<bool, kMaxGroups> kept{};
  if (args.groups_per_token == args.num_groups) {
    kept.fill(true);
    return kept;
  }
  const std::int64_t size = args.logits.cols / args.num_groups;
  std::array<double, kMaxGroups> sums{};
  for (std::int32_t g = 0; g < args.num_groups; ++g) {
    double first = kExcluded;
    double second = kExcluded;
    for (std::int64_t e = g * size; e < (g + 1) * size; ++e) {
      const double rank = scores.rank(e);
      second = std::max(second, std::min(rank, first));
      first = std::max(first, rank);
    }
    sums[static_cast<std::size_t>(g)] = size > 1 ? first + second : first;
  }
  for (std::int32_t i = 0; i < args.groups_per_token; ++i) {
    std::int32_t best = -1;
    for (std::int32_t g = 0; g < args.num_groups; ++g) {
      const auto index = static_cast<std::size_t>(g);
      if (kept[index]) continue;
      if (best < 0 || sums[index] > sums[static_cast<std::size_t>(best)]) best = g;
    }
    kept[static_cast<std::size_t>(best)] = true;
  }
  return kept;
}

// The chosen experts by descending rank while they are found, then ascending.
void choose(const RouteArgs& args, const RowScores& scores, std::span<std::int32_t> chosen) {
  const std::array<bool, kMaxGroups> kept = kept_groups(args, scores);
  const std::int64_t size = args.logits.cols / args.num_groups;
  std::array<double, 64> ranks{};
  std::size_t count = 0;
  for (std::int64_t e = 0; e < args.logits.cols; ++e) {
    if (!kept[static_cast<std::size_t>(e / size)]) continue;
    const double rank = scores.rank(e);
    std::size_t place = count;
    while (place > 0 && rank > ranks[place - 1]) --place;
    if (place == chosen.size()) continue;
    count = std::min(count + 1, chosen.size());
    for (std::size_t i = count - 1; i > place; --i) {
      chosen[i] = chosen[i - 1];
      ranks[i] = ranks[i - 1];
    }
    chosen[place] = static_cast<std::int32_t>(e);
    ranks[place] = rank;
  }
  std::sort(chosen.begin(), chosen.end());
}

}  // namespace

void check_route(const RouteArgs& args) {
  const std::int64_t experts = args.logits.cols;
  const auto slots = static_cast<std::size_t>(args.logits.rows * args.experts_per_token);
  TESSERA_REQUIRE(args.logits.dtype == DType::kFloat32 && experts > 0, "router logits are ",
                  name_of(args.logits.dtype), " of ", experts, " experts");
  TESSERA_REQUIRE(
      args.num_groups >= 1 && args.num_groups <= kMaxGroups && experts % args.num_groups == 0 &&
          args.groups_per_token >= 1 && args.groups_per_token <= args.num_groups,
      args.groups_per_token, " of ", args.num_groups, " groups of ", experts, " experts");
  TESSERA_REQUIRE(args.experts_per_token >= 1 && args.experts_per_token <= 64 &&
                      args.experts_per_token <= experts / args.num_groups * args.groups_per_token,
                  args.experts_per_token, " of ", experts, " experts for a token: 1 to 64");
  TESSERA_REQUIRE(args.experts.size() == slots && args.weights.size() == slots, "routing of ",
                  slots, " slots into ", args.experts.size(), " and ", args.weights.size());
  for (const std::span<const float> vector : {args.bias, args.expert_scale}) {
    TESSERA_REQUIRE(vector.empty() || vector.size() == static_cast<std::size_t>(experts),
                    "a vector of ", vector.size(), " for ", experts, " experts");
  }
}

void check_moe(const MoeArgs& args, DType activation) {
  const ExpertWeights& weights = *args.weights;
  TESSERA_REQUIRE(!weights.gate_up.empty() && weights.gate_up.size() == weights.down.size(),
                  weights.gate_up.size(), " gate and up, ", weights.down.size(), " down matrices");
  const PackShape& in = weights.gate_up.front()->shape();
  const PackShape& out = weights.down.front()->shape();
  TESSERA_REQUIRE(
      args.x.dtype == activation && args.x.cols == in.cols && args.out.dtype == DType::kFloat32 &&
          args.out.cols == out.rows && args.out.rows == args.x.rows && in.rows == 2 * out.cols,
      "experts of ", in.rows, " x ", in.cols, " and ", out.rows, " x ", out.cols, " on ",
      args.x.rows, " x ", args.x.cols, " into ", args.out.rows, " x ", args.out.cols);
  const auto slots = static_cast<std::size_t>(args.x.rows * args.experts_per_token);
  TESSERA_REQUIRE(args.experts.size() == slots && args.expert_weights.size() == slots,
                  "experts of ", slots, " slots: ", args.experts.size(), " and ",
                  args.expert_weights.size());
  for (const std::int32_t expert : args.experts) {
    TESSERA_REQUIRE(expert >= 0 && expert < static_cast<std::int32_t>(weights.down.size()),
                    "expert ", expert, " of ", weights.down.size());
  }
}

void route_rows(const RouteArgs& args, std::int64_t begin, std::int64_t end) {
  const auto k = static_cast<std::size_t>(args.experts_per_token);
  for (std::int64_t row = begin; row < end; ++row) {
    const RowScores scores(args, row);
    const auto chosen = args.experts.subspan(static_cast<std::size_t>(row) * k, k);
    choose(args, scores, chosen);
    double sum = 0.0;
    for (const std::int32_t expert : chosen) sum += scores.score(expert);
    for (std::size_t i = 0; i < k; ++i) {
      double weight = scores.score(chosen[i]);
      if (args.normalise) weight /= sum;
      weight *= double{args.scale};
      if (!args.expert_scale.empty()) {
        weight *= double{args.expert_scale[static_cast<std::size_t>(chosen[i])]};
      }
      args.weights[static_cast<std::size_t>(row) * k + i] = static_cast<float>(weight);
    }
  }
}

}  // namespace tessera::kernels
