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

/// Scores of one row.
class RowScores {
 public:
  RowScores(const RouteArgs& args, std::int64_t row) : args_(args) {
    const auto* logits = static_cast<const float*>(args.logits.row(row));
    const auto count = static_cast<std::size_t>(args.logits.cols);
    if (args.score == RouterScore::kSigmoid) {
      for (std::size_t e = 0; e < count; ++e) {
        scores_[e] = 1.0 / (1.0 + std::exp(-double{logits[e]}));
      }
      return;
    }
    const double high = *std::max_element(logits, logits + count);
    double sum = 0.0;
    for (std::size_t e = 0; e < count; ++e) sum += scores_[e] = std::exp(double{logits[e]} - high);
    for (std::size_t e = 0; e < count; ++e) scores_[e] /= sum;
  }

  double score(std::int64_t e) const { return scores_[static_cast<std::size_t>(e)]; }
  double rank(std::int64_t e) const {
    return score(e) + (args_.bias.empty() ? 0.0 : double{args_.bias[static_cast<std::size_t>(e)]});
  }

 private:
  const RouteArgs& args_;
  std::array<double, kMaxRoutedExperts> scores_;  // the first logits.cols
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

void check_experts(const MoeArgs& args,
                   const PackedMatrix& gate_up,
                   const PackedMatrix& down,
                   DType activation) {
  const PackShape& in = gate_up.shape();
  const PackShape& out = down.shape();
  TESSERA_REQUIRE(args.x.dtype == activation && args.x.cols == in.cols && in.gated &&
                      in.row_leaves == out.row_leaves && in.rows == 2 * out.cols * in.row_leaves &&
                      args.out.dtype == DType::kFloat32 && args.out.rows == args.x.rows &&
                      args.out.cols * out.row_leaves == out.rows,
                  in.row_leaves, " experts of ", in.rows, " x ", in.cols, " and ", out.row_leaves,
                  " of ", out.rows, " x ", out.cols, " on ", args.x.rows, " x ", args.x.cols,
                  " into ", args.out.rows, " x ", args.out.cols);
}

}  // namespace

void check_route(const RouteArgs& args) {
  const std::int64_t experts = args.logits.cols;
  const auto slots = static_cast<std::size_t>(args.logits.rows * args.experts_per_token);
  TESSERA_REQUIRE(
      args.logits.dtype == DType::kFloat32 && experts > 0 && experts <= kMaxRoutedExperts,
      "router logits are ", name_of(args.logits.dtype), " of ", experts, " experts: 1 to ",
      kMaxRoutedExperts);
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
  check_experts(args, *weights.gate_up, *weights.down, activation);
  const std::int32_t leaves = weights.down->shape().k_leaves;
  const std::int32_t last = weights.first_expert + weights.num_local();
  TESSERA_REQUIRE((leaves == weights.num_leaves || leaves == 1) && weights.first_expert >= 0 &&
                      last <= weights.num_experts,
                  "experts [", weights.first_expert, ", ", last, ") of ", weights.num_experts,
                  " in ", leaves, " of ", weights.num_leaves, " leaves");
  if (weights.shared_down) {
    check_experts(args, *weights.shared_gate_up, *weights.shared_down, activation);
    TESSERA_REQUIRE(weights.shared_down->shape().k_leaves == weights.num_leaves,
                    "shared experts in ", weights.shared_down->shape().k_leaves, " of ",
                    weights.num_leaves, " leaves");
  }
  const auto slots = static_cast<std::size_t>(args.x.rows * args.experts_per_token);
  TESSERA_REQUIRE(args.experts.size() == slots && args.expert_weights.size() == slots,
                  "experts of ", slots, " slots: ", args.experts.size(), " and ",
                  args.expert_weights.size());
}

void check_expert_ids(const MoeArgs& args) {
  const std::int32_t count = args.weights->num_experts;
  for (const std::int32_t expert : args.experts) {
    TESSERA_REQUIRE(expert >= 0 && expert < count, "expert ", expert, " of ", count);
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
