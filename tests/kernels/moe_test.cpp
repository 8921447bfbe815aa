#include "kernels/moe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "kernels/partition.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

struct Routing {
  std::vector<std::int32_t> experts;
  std::vector<float> weights;
};

class MoeRouteTest : public BackendTest {
 protected:
  Routing route(RouteArgs args, Matrix& logits) {
    Routing routing;
    const auto slots = static_cast<std::size_t>(logits.rows * args.experts_per_token);
    routing.experts.resize(slots);
    routing.weights.resize(slots);
    args.logits = logits.view();
    args.experts = routing.experts;
    args.weights = routing.weights;
    backend_->moe_route(args);
    return routing;
  }
};

TESSERA_FOR_EVERY_BACKEND(MoeRouteTest);

std::vector<double> scores_of(const Matrix& logits, std::int64_t row, RouterScore kind) {
  std::vector<double> scores;
  double sum = 0.0;
  for (std::int64_t e = 0; e < logits.cols; ++e) {
    const double g = logits.at(row, e);
    scores.push_back(kind == RouterScore::kSigmoid ? 1.0 / (1.0 + std::exp(-g)) : std::exp(g));
    sum += scores.back();
  }
  if (kind == RouterScore::kSoftmax) {
    for (double& score : scores) score /= sum;
  }
  return scores;
}

// The definition, by sorting everything.
std::map<std::int32_t, double> definition(const RouteArgs& args,
                                          const Matrix& logits,
                                          std::int64_t row) {
  const std::vector<double> scores = scores_of(logits, row, args.score);
  std::vector<double> ranks = scores;
  for (std::size_t e = 0; e < args.bias.size(); ++e) ranks[e] += double{args.bias[e]};
  const auto by_rank = [](const std::vector<double>& values, std::size_t count) {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
    order.resize(count);
    return order;
  };
  const auto size = static_cast<std::size_t>(logits.cols / args.num_groups);
  std::vector<double> group_scores;
  for (std::size_t g = 0; g < static_cast<std::size_t>(args.num_groups); ++g) {
    std::vector<double> of_group(ranks.begin() + static_cast<std::ptrdiff_t>(g * size),
                                 ranks.begin() + static_cast<std::ptrdiff_t>((g + 1) * size));
    double sum = 0.0;
    for (const std::size_t e : by_rank(of_group, std::min<std::size_t>(2, size))) {
      sum += of_group[e];
    }
    group_scores.push_back(sum);
  }
  const auto kept = by_rank(group_scores, static_cast<std::size_t>(args.groups_per_token));
  for (std::size_t e = 0; e < ranks.size(); ++e) {
    if (std::find(kept.begin(), kept.end(), e / size) == kept.end()) ranks[e] = -1e300;
  }
  std::map<std::int32_t, double> weights;
  double sum = 0.0;
  for (const std::size_t e : by_rank(ranks, static_cast<std::size_t>(args.experts_per_token))) {
    weights[static_cast<std::int32_t>(e)] = scores[e];
    sum += scores[e];
  }
  for (auto& [e, weight] : weights) {
    if (args.normalise) weight /= sum;
    weight *= double{args.scale};
    if (!args.expert_scale.empty()) {
      weight *= double{args.expert_scale[static_cast<std::size_t>(e)]};
    }
  }
  return weights;
}

TEST_P(MoeRouteTest, MatchesTheDefinition) {
  const std::vector<float> bias = {0.5F, -0.5F, 0.0F, 0.25F, 0.0F, 0.0F, 0.125F, -1.0F,
                                   0.0F, 0.0F,  1.0F, 0.0F,  0.0F, 0.0F, 0.0F,   0.0F};
  const std::vector<float> scales(16, 1.5F);
  std::vector<RouteArgs> cases(5);
  cases[0].experts_per_token = 4;
  cases[1].normalise = false;
  cases[2].score = RouterScore::kSigmoid;
  cases[2].bias = bias;
  cases[2].num_groups = 4;
  cases[2].groups_per_token = 2;
  cases[2].experts_per_token = 4;
  cases[2].scale = 2.5F;
  cases[3] = cases[2];
  cases[3].num_groups = 16;
  cases[3].groups_per_token = 3;
  cases[3].experts_per_token = 3;
  cases[4].experts_per_token = 16;
  cases[4].expert_scale = scales;
  for (std::size_t c = 0; c < cases.size(); ++c) {
    SCOPED_TRACE(c);
    Matrix logits = random_matrix(20, 16, static_cast<std::uint32_t>(c + 1));
    for (std::int64_t e = 0; e < 16; ++e) logits.at(0, e) = 0.25F;  // ties: the lower index
    const Routing got = route(cases[c], logits);
    std::size_t slot = 0;
    for (std::int64_t row = 0; row < logits.rows; ++row) {
      for (const auto& [expert, weight] : definition(cases[c], logits, row)) {
        EXPECT_EQ(got.experts[slot], expert) << "row " << row;
        EXPECT_NEAR(got.weights[slot], weight, 1e-6 * weight) << "row " << row;
        ++slot;
      }
    }
  }
}

TEST_P(MoeRouteTest, RejectsWhatTheHeaderForbids) {
  Matrix logits = random_matrix(2, 6, 1);
  RouteArgs args;
  args.experts_per_token = 7;
  EXPECT_ERROR(route(args, logits), kInvalidArgument);
  args = {};
  args.num_groups = 4;
  EXPECT_ERROR(route(args, logits), kInvalidArgument);
  args.num_groups = 2;
  args.groups_per_token = 3;
  EXPECT_ERROR(route(args, logits), kInvalidArgument);
  args = {};
  const std::vector<float> bias(5);
  args.bias = bias;
  EXPECT_ERROR(route(args, logits), kInvalidArgument);
}

/// Weights of all experts, unsharded, and what ranks make of them.
struct Layer {
  std::int64_t hidden, width, shared_width;
  std::vector<TypedMatrix> gate, up, down;  // the shared expert last, if there is one

  Layer(DType dtype,
        std::int64_t num_experts,
        std::int64_t hidden_size,
        std::int64_t expert_width,
        std::int64_t shared)
      : hidden(hidden_size), width(expert_width), shared_width(shared) {
    for (std::int64_t e = 0; e <= num_experts; ++e) {
      const std::int64_t w = e < num_experts ? width : shared_width;
      const auto seed = static_cast<std::uint32_t>(10 + 3 * e);
      gate.emplace_back(dtype, scaled(w, hidden, seed));
      up.emplace_back(dtype, scaled(w, hidden, seed + 1));
      down.emplace_back(dtype, scaled(hidden, w, seed + 2));
    }
  }

  static Matrix scaled(std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
    Matrix matrix = random_matrix(rows, cols, seed);
    for (float& x : matrix.values) x *= 0.3F;
    return matrix;
  }

  static ConstMatrixView slice(const TypedMatrix& m,
                               std::int64_t row,
                               std::int64_t rows,
                               std::int64_t col,
                               std::int64_t cols) {
    ConstMatrixView view = m.view();
    const std::int64_t r = std::min(row, view.rows);
    const std::int64_t c = std::min(col, view.cols);
    view.data = static_cast<const std::byte*>(view.row(r)) + c * size_of(view.dtype);
    view.rows = std::min(rows, m.rows() - r);
    view.cols = std::min(cols, m.cols() - c);
    return view;
  }

  /// Part `part` of `parts` of the width of experts [first, first + count).
  void pack(Backend& backend,
            std::size_t first,
            std::size_t count,
            std::int64_t part,
            std::int64_t parts,
            std::int32_t leaves,
            std::unique_ptr<PackedMatrix>& gate_up,
            std::unique_ptr<PackedMatrix>& out) const {
    const std::int64_t share = padded_reduction(gate[first].rows()) / parts;
    const auto n = static_cast<std::int32_t>(count);
    gate_up = backend.create_packed(
        {.rows = 2 * n * share, .cols = hidden, .k_leaves = 1, .row_leaves = n, .gated = true});
    out = backend.create_packed(
        {.rows = n * hidden, .cols = share, .k_leaves = leaves, .row_leaves = n});
    for (std::size_t i = 0; i < count; ++i) {
      const auto e = static_cast<std::int64_t>(i);
      const ConstMatrixView g = slice(gate[first + i], part * share, share, 0, hidden);
      const ConstMatrixView u = slice(up[first + i], part * share, share, 0, hidden);
      const ConstMatrixView d = slice(down[first + i], 0, hidden, part * share, share);
      if (g.rows > 0) backend.pack_rows(*gate_up, 2 * e * share, g);
      if (u.rows > 0) backend.pack_rows(*gate_up, (2 * e + 1) * share, u);
      if (d.cols > 0) backend.pack_rows(*out, e * hidden, d);
    }
  }

  ExpertWeights weights(Backend& backend, int rank, int ranks, bool by_expert = false) const {
    ExpertWeights result;
    const std::size_t all = gate.size() - 1;
    const std::size_t count = by_expert ? all / static_cast<std::size_t>(ranks) : all;
    const std::size_t first = by_expert ? static_cast<std::size_t>(rank) * count : 0;
    result.num_experts = static_cast<std::int32_t>(all);
    result.first_expert = static_cast<std::int32_t>(first);
    result.num_leaves = kNumLeaves / ranks;
    if (by_expert) {
      pack(backend, first, count, 0, 1, 1, result.gate_up, result.down);
    } else {
      pack(backend, 0, all, rank, ranks, result.num_leaves, result.gate_up, result.down);
    }
    if (shared_width > 0) {
      pack(backend, all, 1, rank, ranks, result.num_leaves, result.shared_gate_up,
           result.shared_down);
    }
    return result;
  }
};

double activated(Activation activation, double x) {
  if (activation == Activation::kSilu) return x / (1.0 + std::exp(-x));
  return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}

class MoeExpertsTest : public BackendTest {
 protected:
  static constexpr std::int32_t kExperts = 12;
  static constexpr std::int32_t kPerToken = 3;

  static Routing random_routing(std::int64_t rows, std::uint32_t seed) {
    std::mt19937 rng(seed);
    Routing routing;
    for (std::int64_t row = 0; row < rows; ++row) {
      std::vector<std::int32_t> all(kExperts);
      std::iota(all.begin(), all.end(), 0);
      std::shuffle(all.begin(), all.end(), rng);
      std::sort(all.begin(), all.begin() + kPerToken);
      routing.experts.insert(routing.experts.end(), all.begin(), all.begin() + kPerToken);
      for (int i = 0; i < kPerToken; ++i) {
        routing.weights.push_back(0.1F + 0.1F * static_cast<float>(rng() % 9));
      }
    }
    return routing;
  }

  static Matrix run(Backend& backend,
                    const ExpertWeights& weights,
                    ConstMatrixView x,
                    const Routing& routing,
                    std::int64_t hidden,
                    Activation activation = Activation::kSilu,
                    std::int32_t per_token = kPerToken) {
    Matrix out(x.rows, hidden);
    std::vector<std::byte> workspace(
        static_cast<std::size_t>(backend.moe_workspace_bytes(weights, per_token, x.rows)));
    backend.moe_experts({.x = x,
                         .weights = &weights,
                         .activation = activation,
                         .experts_per_token = per_token,
                         .experts = routing.experts,
                         .expert_weights = routing.weights,
                         .workspace = workspace,
                         .out = out.view()});
    return out;
  }

  void expect_definition(const Layer& layer,
                         const TypedMatrix& x,
                         const Routing& routing,
                         std::int32_t per_token,
                         Activation kind,
                         const Matrix& got) const {
    const auto dot = [&](const TypedMatrix& m, std::int64_t n, std::int64_t row) {
      double sum = 0.0;
      for (std::int64_t k = 0; k < x.cols(); ++k) sum += double{m.at(n, k)} * double{x.at(row, k)};
      return sum;
    };
    for (std::int64_t row = 0; row < x.rows(); ++row) {
      std::vector<double> want(static_cast<std::size_t>(x.cols()), 0.0);
      std::vector<double> size(want.size(), 0.0);
      const auto add = [&](std::size_t e, double weight) {
        for (std::int64_t i = 0; i < layer.gate[e].rows(); ++i) {
          const double h = activated(kind, dot(layer.gate[e], i, row)) * dot(layer.up[e], i, row);
          for (std::int64_t n = 0; n < x.cols(); ++n) {
            const double term = weight * h * double{layer.down[e].at(n, i)};
            want[static_cast<std::size_t>(n)] += term;
            size[static_cast<std::size_t>(n)] += std::abs(term);
          }
        }
      };
      for (std::int32_t i = 0; i < per_token; ++i) {
        const auto slot = static_cast<std::size_t>(row * per_token + i);
        add(static_cast<std::size_t>(routing.experts[slot]), double{routing.weights[slot]});
      }
      if (layer.shared_width > 0) add(layer.gate.size() - 1, 1.0);
      for (std::int64_t n = 0; n < x.cols(); ++n) {
        const auto i = static_cast<std::size_t>(n);
        // h is rounded to the activation dtype; fp32 sums of some hundred terms.
        ASSERT_NEAR(got.at(row, n), want[i], (rounding(activation()) + 1e-5) * size[i] + 1e-6)
            << row << ", " << n;
      }
    }
  }
};

TESSERA_FOR_EVERY_BACKEND(MoeExpertsTest);

TEST_P(MoeExpertsTest, MatchesTheDefinition) {
  const struct {
    std::int64_t rows, hidden, width, shared;
    Activation activation;
  } cases[] = {{0, 16, 16, 0, Activation::kSilu},    {1, 70, 24, 0, Activation::kSilu},
               {5, 34, 16, 40, Activation::kSilu},   {40, 130, 72, 16, Activation::kSilu},
               {400, 70, 16, 24, Activation::kSilu},  // more rows than are taken together
               {30, 600, 16, 0, Activation::kSilu},   // more columns
               {9, 64, 32, 0, Activation::kGeluTanh}};
  for (const auto& c : cases) {
    SCOPED_TRACE(::testing::Message() << c.rows << " rows, " << c.hidden << ", " << c.width);
    const Layer layer(activation(), kExperts, c.hidden, c.width, c.shared);
    const TypedMatrix x(activation(), random_matrix(c.rows, c.hidden, 5));
    const Routing routing = random_routing(c.rows, 6);
    for (const bool by_expert : {false, true}) {
      SCOPED_TRACE(by_expert ? "by expert" : "by width");
      const ExpertWeights weights = layer.weights(*backend_, 0, 1, by_expert);
      const Matrix got = run(*backend_, weights, x.view(), routing, c.hidden, c.activation);
      EXPECT_TRUE(got.padding_untouched());
      expect_definition(layer, x, routing, kPerToken, c.activation, got);
    }
  }
}

// An expert of several tiles of rows, most of the others with a few or none.
TEST_P(MoeExpertsTest, OneExpertMayHaveMostRows) {
  constexpr std::int32_t kManyExperts = 64;
  constexpr std::int32_t kRows = 150;
  constexpr std::int32_t kBusy = 5;
  const Layer layer(activation(), kManyExperts, 18, 16, 0);
  const TypedMatrix x(activation(), random_matrix(kRows, 18, 12));
  Routing routing;
  for (std::int32_t row = 0; row < kRows; ++row) {
    const std::int32_t other = row % 3 == 0 ? kManyExperts - 1 : row * 7 % kManyExperts;
    const std::int32_t second = other == kBusy ? 6 : other;
    routing.experts.push_back(std::min(kBusy, second));
    routing.experts.push_back(std::max(kBusy, second));
    routing.weights.push_back(0.25F);
    routing.weights.push_back(1.5F);
  }
  const Matrix got = run(*backend_, layer.weights(*backend_, 0, 1), x.view(), routing, 18,
                         Activation::kSilu, /*per_token=*/2);
  expect_definition(layer, x, routing, /*per_token=*/2, Activation::kSilu, got);
}

TEST_P(MoeExpertsTest, RanksAddUpToTheSameBits) {
  const Layer layer(activation(), kExperts, 66, 40, 24);
  const TypedMatrix x(activation(), random_matrix(11, 66, 7));
  const Routing routing = random_routing(11, 8);
  for (const bool by_expert : {false, true}) {
    const auto run_rank = [&](int rank, int ranks) {
      const ExpertWeights weights = layer.weights(*backend_, rank, ranks, by_expert);
      return run(*backend_, weights, x.view(), routing, 66);
    };
    const Matrix whole = run_rank(0, 1);
    for (const int ranks : {2, 4, 8}) {
      if (by_expert && kExperts % ranks != 0) continue;
      SCOPED_TRACE(::testing::Message() << ranks << (by_expert ? " by expert" : " by width"));
      std::vector<Matrix> partials;
      for (int rank = 0; rank < ranks; ++rank) partials.push_back(run_rank(rank, ranks));
      for_each_branch(ranks, [&](std::int32_t left, std::int32_t right) {
        Matrix& sum = partials[static_cast<std::size_t>(left)];
        const Matrix& other = partials[static_cast<std::size_t>(right)];
        for (std::size_t i = 0; i < sum.values.size(); ++i) sum.values[i] += other.values[i];
      });
      for (std::int64_t row = 0; row < 11; ++row) {
        for (std::int64_t n = 0; n < 66; ++n) {
          ASSERT_EQ(partials[0].at(row, n), whole.at(row, n)) << row << ", " << n;
        }
      }
    }
  }
}

TEST_P(MoeExpertsTest, ARowIsTheSameBitsAloneAndOnAnyNumberOfThreads) {
  const std::int64_t hidden = 258;  // with the threads, 1, 2 or 4 shares of the leaves
  const Layer layer(activation(), kExperts, hidden, 48, 16);
  const TypedMatrix x(activation(), random_matrix(120, hidden, 9));
  const Routing routing = random_routing(120, 10);
  const Matrix together = run(*backend_, layer.weights(*backend_, 0, 1), x.view(), routing, hidden);
  for (const std::int32_t threads : {1, 2, 3}) {
    const auto backend = GetParam().create(threads);
    const ExpertWeights weights = layer.weights(*backend, 0, 1);
    for (std::int64_t row = 0; row < 120; row += 7) {
      const auto first = static_cast<std::ptrdiff_t>(row * kPerToken);
      const Routing own{
          {routing.experts.begin() + first, routing.experts.begin() + first + kPerToken},
          {routing.weights.begin() + first, routing.weights.begin() + first + kPerToken}};
      const Matrix alone = run(*backend, weights, Layer::slice(x, row, 1, 0, hidden), own, hidden);
      for (std::int64_t n = 0; n < hidden; ++n) ASSERT_EQ(alone.at(0, n), together.at(row, n));
    }
  }
}

TEST_P(MoeExpertsTest, RejectsWhatTheHeaderForbids) {
  const Layer layer(activation(), kExperts, 32, 16, 0);
  const ExpertWeights weights = layer.weights(*backend_, 0, 1);
  const TypedMatrix x(activation(), random_matrix(1, 32, 1));
  Routing routing = random_routing(1, 1);
  EXPECT_ERROR(run(*backend_, weights, Layer::slice(x, 0, 1, 0, 30), routing, 32),
               kInvalidArgument);
  EXPECT_ERROR(run(*backend_, weights, x.view(), routing, 31), kInvalidArgument);
  routing.experts.pop_back();
  EXPECT_ERROR(run(*backend_, weights, x.view(), routing, 32), kInvalidArgument);
}

}  // namespace
}  // namespace tessera::kernels
