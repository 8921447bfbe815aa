#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "benchmarks/kernels/kernel_suite.h"
#include "kernels/partition.h"

namespace tessera::benchmarks {
namespace {

constexpr std::int32_t kPerToken = 8;

struct LayerShape {
  const char* name;
  std::int32_t num_experts;
  std::int64_t hidden;
  std::int64_t width;
  std::int64_t shared_width;

  std::int64_t expert_elements() const { return 3 * hidden * width; }
  std::int64_t shared_elements() const { return 3 * hidden * shared_width; }
};

constexpr LayerShape kShapes[] = {
    {"qwen3_30b", 128, 2048, 768, 0},      // SDAR-30B-A3B
    {"llada2_mini", 256, 2048, 512, 512},  // LLaDA2.0-mini
};

// Experts of rows: all alike, or expert e of a shuffled order with a probability of 1 / (e + 1).
struct Routing {
  std::vector<std::int32_t> experts;
  std::vector<float> weights;

  Routing(const LayerShape& shape, std::int64_t num_rows, bool is_skewed) {
    std::mt19937 rng(/*seed=*/3);
    std::vector<double> odds(static_cast<std::size_t>(shape.num_experts), 1.0);
    for (std::size_t e = 0; is_skewed && e < odds.size(); ++e) {
      odds[e] /= static_cast<double>(e + 1);
    }
    std::shuffle(odds.begin(), odds.end(), rng);
    std::discrete_distribution<std::int32_t> draw(odds.begin(), odds.end());
    for (std::int64_t row = 0; row < num_rows; ++row) {
      std::set<std::int32_t> chosen;
      while (static_cast<std::int32_t>(chosen.size()) < kPerToken) chosen.insert(draw(rng));
      experts.insert(experts.end(), chosen.begin(), chosen.end());
    }
    weights.assign(experts.size(), 1.0F / kPerToken);
  }

  std::size_t num_chosen() const { return std::set(experts.begin(), experts.end()).size(); }
};

// One layer at a time: it has more than a gigabyte, so that nothing of it is cached between calls.
class Layers {
 public:
  explicit Layers(std::shared_ptr<kernels::Backend> backend) : backend_(std::move(backend)) {}

  const kernels::ExpertWeights& of(const LayerShape& shape) {
    if (held_ == shape.name) return weights_;
    held_ = shape.name;
    weights_ = {};
    weights_.num_experts = shape.num_experts;
    weights_.num_leaves = kNumLeaves;
    pack(shape.num_experts, shape.hidden, shape.width, weights_.gate_up, weights_.down);
    if (shape.shared_width > 0) {
      pack(1, shape.hidden, shape.shared_width, weights_.shared_gate_up, weights_.shared_down);
    }
    return weights_;
  }

 private:
  void pack(std::int32_t count,
            std::int64_t hidden,
            std::int64_t width,
            std::unique_ptr<kernels::PackedMatrix>& gate_up,
            std::unique_ptr<kernels::PackedMatrix>& down) {
    gate_up = backend_->create_packed({2 * count * width, hidden, 1, count, /*gated=*/true});
    down = backend_->create_packed({count * hidden, width, kNumLeaves, count});
    const kernels::Buffer source = random_bfloat16(2 * width * hidden, 0.02F);
    for (std::int64_t e = 0; e < count; ++e) {
      backend_->pack_rows(*gate_up, 2 * e * width,
                          {source.data(), DType::kBFloat16, 2 * width, hidden, hidden});
      backend_->pack_rows(*down, e * hidden,
                          {source.data(), DType::kBFloat16, hidden, width, width});
    }
  }

  std::shared_ptr<kernels::Backend> backend_;
  std::string held_;
  kernels::ExpertWeights weights_;
};

void run_experts(benchmark::State& state,
                 const KernelSuite& suite,
                 Layers& layers,
                 const LayerShape& shape,
                 std::int64_t num_rows,
                 bool is_skewed) {
  const kernels::ExpertWeights& weights = layers.of(shape);
  const Routing routing(shape, num_rows, is_skewed);
  const kernels::Buffer x = random_bfloat16(num_rows * shape.hidden, 1.0F);
  const kernels::Buffer out(num_rows * shape.hidden * 4);
  const kernels::Buffer workspace(suite.backend->moe_workspace_bytes(weights, kPerToken, num_rows));
  for (auto _ : state) {
    suite.backend->moe_experts(
        {.x = {x.data(), DType::kBFloat16, num_rows, shape.hidden, shape.hidden},
         .weights = &weights,
         .activation = Activation::kSilu,
         .experts_per_token = kPerToken,
         .experts = routing.experts,
         .expert_weights = routing.weights,
         .workspace = {workspace.as<std::byte>(), static_cast<std::size_t>(workspace.num_bytes())},
         .out = {out.data(), DType::kFloat32, num_rows, shape.hidden, shape.hidden}});
  }
  const auto rows = static_cast<double>(num_rows);
  const auto expert = static_cast<double>(shape.expert_elements());
  const auto shared = static_cast<double>(shape.shared_elements());
  const auto chosen = static_cast<double>(routing.num_chosen());
  state.counters["experts"] = chosen;
  report(state, suite,
         {2.0 * rows * (kPerToken * expert + shared), 2.0 * (chosen * expert + shared)});
}

void run_route(benchmark::State& state,
               const KernelSuite& suite,
               kernels::RouterScore score,
               std::int64_t num_experts,
               std::int64_t num_rows) {
  const kernels::Buffer logits = random_float32(num_rows * num_experts);
  const std::vector<float> bias(static_cast<std::size_t>(num_experts), 0.1F);
  std::vector<std::int32_t> experts(static_cast<std::size_t>(num_rows * kPerToken));
  std::vector<float> weights(experts.size());
  kernels::RouteArgs args;
  args.logits = {logits.data(), DType::kFloat32, num_rows, num_experts, num_experts};
  args.score = score;
  args.experts_per_token = kPerToken;
  args.experts = experts;
  args.weights = weights;
  if (score == kernels::RouterScore::kSigmoid) {
    args.bias = bias;
    args.num_groups = 8;
    args.groups_per_token = 4;
  }
  for (auto _ : state) suite.backend->moe_route(args);
  report(state, suite, {0.0, static_cast<double>(num_rows * num_experts * 4)});
}

// One thread is measured by its own time, whoever else uses the machine.
benchmark::internal::Benchmark* timed(benchmark::internal::Benchmark* benchmark,
                                      const KernelSuite& suite) {
  benchmark->Unit(benchmark::kMicrosecond);
  return suite.num_threads == 1 ? benchmark : benchmark->UseRealTime();
}

}  // namespace

void register_experts(const KernelSuite& suite) {
  const auto layers = std::make_shared<Layers>(suite.backend);
  for (const LayerShape& shape : kShapes) {
    for (const std::int64_t rows : {32, 128, 512}) {
      for (const bool is_skewed : {false, true}) {
        const std::string name = suite.name("moe_experts") + "/" + shape.name +
                                 (is_skewed ? "/skewed" : "/uniform") +
                                 "/M:" + std::to_string(rows);
        timed(benchmark::RegisterBenchmark(name.c_str(),
                                           [=, &shape](benchmark::State& state) {
                                             run_experts(state, suite, *layers, shape, rows,
                                                         is_skewed);
                                           }),
              suite);
      }
    }
  }
  for (const auto& [kind, score, num_experts] :
       {std::tuple{"softmax", kernels::RouterScore::kSoftmax, 128},
        std::tuple{"sigmoid_groups", kernels::RouterScore::kSigmoid, 256}}) {
    for (const std::int64_t rows : {32, 512}) {
      const std::string name = suite.name("moe_route") + "/" + kind + "/M:" + std::to_string(rows);
      timed(benchmark::RegisterBenchmark(
                name.c_str(),
                [=, score = score, num_experts = num_experts](benchmark::State& state) {
                  run_route(state, suite, score, num_experts, rows);
                }),
            suite);
    }
  }
}

}  // namespace tessera::benchmarks
