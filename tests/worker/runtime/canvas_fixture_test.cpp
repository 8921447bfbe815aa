#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "tests/worker/support/backend_options.h"
#include "tests/worker/support/fixture.h"
#include "tests/worker/support/logits_ranks.h"

namespace tessera {
namespace {

constexpr const char* kModel = "diffusion_gemma";

struct CanvasSetup {
  kernels::BackendCase backend;
  std::string dtype;
  ExpertSharding experts = ExpertSharding::kByWidth;
  std::int32_t tp = 1;
};

std::vector<CanvasSetup> canvas_setups() {
  std::vector<CanvasSetup> setups;
  for (const kernels::BackendCase& backend : kernels::backend_cases()) {
    for (const char* dtype : {"f32", "bf16"}) {
      const ModelSpec spec = read_model_spec(fixtures_dir() / kModel / dtype);
      for (const auto experts : {ExpertSharding::kByWidth, ExpertSharding::kByExpert}) {
        for (const std::int32_t tp : legal_tp_degrees(spec, experts)) {
          setups.push_back({backend, dtype, experts, tp});
        }
      }
    }
  }
  return setups;
}

std::string canvas_case_name(const ::testing::TestParamInfo<CanvasSetup>& info) {
  const char* degree = info.param.experts == ExpertSharding::kByExpert ? "_ep" : "_tp";
  return name_of(info.param.backend) + "_" + info.param.dtype + degree +
         std::to_string(info.param.tp);
}

class CanvasFixtureTest : public ::testing::TestWithParam<CanvasSetup> {
 protected:
  void SetUp() override {
    if (!can_run(GetParam().backend)) GTEST_SKIP() << missing_for(GetParam().backend);
    ModelExecutorOptions options;
    options.model_dir = fixtures_dir() / kModel / GetParam().dtype;
    use_backend(GetParam().backend, options);
    options.experts = GetParam().experts;
    ranks_.emplace(options, GetParam().tp, /*page_size=*/8);
    cases_ = read_canvas_cases(kModel, ranks_->spec().num_layers);
  }

  bool is_exact() const { return GetParam().backend.backend == "reference"; }

  // Rows of `cols` values that begin at row `first` of `all_rows`.
  void expect_rows(const std::vector<float>& got,
                   const std::vector<float>& want,
                   std::int64_t first,
                   std::int64_t cols) const {
    double scale = 0.0;
    for (const float value : want) scale = std::max(scale, std::abs(double{value}));
    const auto rows = static_cast<std::int64_t>(got.size()) / cols;
    ASSERT_LE((first + rows) * cols, static_cast<std::int64_t>(want.size()));
    for (std::int64_t row = 0; row < rows; ++row) {
      double worst = 0.0, gg = 0.0, gw = 0.0, ww = 0.0;
      for (std::int64_t j = 0; j < cols; ++j) {
        const double g = got[static_cast<std::size_t>(row * cols + j)];
        const double w = want[static_cast<std::size_t>((first + row) * cols + j)];
        worst = std::max(worst, std::abs(g - w));
        gg += g * g;
        gw += g * w;
        ww += w * w;
      }
      if (is_exact()) {
        ASSERT_LE(worst, kFloatTolerance * scale) << "row " << first + row;
      } else {
        ASSERT_GE(gw / std::sqrt(gg * ww), kRowCosine) << "row " << first + row;
      }
    }
  }

  // Hidden states behind every layer and the choices of every router. `in_front`: what is behind
  // the embedding; `scaled` has the embedding's own scale first, when it is not 1.
  void expect_layers(const RecordingBackend& record,
                     const LayerValues& want,
                     std::int64_t first,
                     const std::vector<float>& in_front) const {
    const ModelSpec& spec = ranks_->spec();
    expect_rows(in_front, want.hidden[0], first, spec.hidden_size);
    const auto k = static_cast<std::size_t>(spec.moe.experts_per_token);
    for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
      SCOPED_TRACE(::testing::Message() << "layer " << layer);
      const auto i = static_cast<std::size_t>(layer);
      expect_rows(record.scaled().at(i + 1).values, want.hidden[i + 1], first, spec.hidden_size);
      const RecordingBackend::Choice& choice = record.choices().at(i);
      for (std::size_t slot = 0; slot < choice.experts.size(); slot += k) {
        const std::size_t at = static_cast<std::size_t>(first) * k + slot;
        expect_choice(std::span(choice.experts).subspan(slot, k),
                      std::span(choice.weights).subspan(slot, k),
                      std::span(want.experts[i]).subspan(at, k),
                      std::span(want.expert_weights[i]).subspan(at, k));
      }
    }
  }

  // As sets: the oracle orders by rank, the engine by index.
  void expect_choice(std::span<const std::int32_t> experts,
                     std::span<const float> weights,
                     std::span<const std::int32_t> wanted,
                     std::span<const float> wanted_weights) const {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const auto* found = std::ranges::find(experts, wanted[i]).base();
      ASSERT_NE(found, std::ranges::end(experts).base()) << "expert " << wanted[i];
      const float weight = weights[static_cast<std::size_t>(found - experts.data())];
      ASSERT_NEAR(weight, wanted_weights[i],
                  (is_exact() ? kFloatTolerance : 0.06) * std::abs(wanted_weights[i]));
    }
  }

  // New K/V of every layer against heads of the oracle's.
  void expect_kv(std::int32_t rank, const CanvasCase& fixture, std::int64_t first) const {
    const ModelSpec& spec = ranks_->spec();
    const RecordingBackend& record = ranks_->record(rank);
    for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
      const auto i = static_cast<std::size_t>(layer);
      const AttentionShard& shard = ranks_->shard(rank).attention_of(spec, layer);
      const std::int64_t dim = spec.attention_of(layer).head_dim;
      for (std::int32_t head = 0; head < shard.num_kv_heads; ++head) {
        SCOPED_TRACE(::testing::Message() << "K/V of layer " << layer << " head " << head);
        const auto tokens = static_cast<std::int64_t>(fixture.tokens.size());
        const std::int64_t row = (shard.first_kv_head + head) * tokens + first;
        expect_rows(head_of(record.keys().at(i), head, dim), fixture.keys[i], row, dim);
        expect_rows(head_of(record.values().at(i), head, dim), fixture.values[i], row, dim);
      }
    }
  }

  static std::vector<float> head_of(const RecordingBackend::Rows& rows,
                                    std::int64_t head,
                                    std::int64_t dim) {
    std::vector<float> values;
    for (auto row = rows.values.begin(); row != rows.values.end(); row += rows.cols) {
      values.insert(values.end(), row + head * dim, row + (head + 1) * dim);
    }
    return values;
  }

  void encode(const CanvasCase& fixture, const std::vector<std::int32_t>& pieces) {
    ranks_->restart();
    Position first = 0;
    for (const std::int32_t count : pieces) {
      Span span;
      span.first = first;
      span.tokens.assign(fixture.tokens.begin() + first, fixture.tokens.begin() + first + count);
      span.cache_len = first;
      span.mask = MaskKind::kCausal;
      span.stores = {{first, first + count}};
      SCOPED_TRACE(::testing::Message() << fixture.name << ": encoded from " << first);
      ranks_->logits(span);
      for (std::int32_t rank = 0; rank < ranks_->size(); ++rank) {
        const RecordingBackend& record = ranks_->record(rank);
        expect_layers(record, fixture.encoder, first, record.scaled().at(0).values);
        expect_kv(rank, fixture, first);
      }
      first += count;
    }
  }

  Span canvas_of(const CanvasCase& fixture, std::int32_t step) const {
    Span span;
    span.first = static_cast<Position>(fixture.tokens.size());
    span.tokens = fixture.canvas;
    span.self_conditioning = step > 0;
    span.cache_len = span.first;
    span.mask = MaskKind::kFull;
    for (Position q = span.first; q < span.end(); ++q) {
      Measure measure;
      measure.kind = MeasureKind::kCanvas;
      measure.row = measure.position = q;
      measure.denoising_step = step;
      measure.temperature = 0.8F;
      span.measures.push_back(measure);
    }
    return span;
  }

  void expect_steps(const CanvasCase& fixture) {
    for (std::int32_t step = 0; step < 2; ++step) {
      SCOPED_TRACE(::testing::Message() << fixture.name << ": step " << step);
      const CanvasCase::Step& want = fixture.steps[static_cast<std::size_t>(step)];
      const Span span = canvas_of(fixture, step);
      expect_rows(ranks_->logits(span), want.logits, 0, ranks_->spec().vocab_size);
      for (std::int32_t rank = 0; rank < ranks_->size(); ++rank) {
        const RecordingBackend& record = ranks_->record(rank);
        expect_layers(record, want.layers, 0, record.plain_norms().at(0).values);
      }
      expect_measurements(ranks_->measure(span), want.logits);
    }
  }

  // Greedy choice and entropy of softmax(logits / 0.8).
  void expect_measurements(const std::vector<Measurement>& got,
                           const std::vector<float>& logits) const {
    const auto vocab = static_cast<std::size_t>(ranks_->spec().vocab_size);
    ASSERT_EQ(got.size() * vocab, logits.size());
    for (std::size_t row = 0; row < got.size(); ++row) {
      const auto values = std::span(logits).subspan(row * vocab, vocab);
      const auto best = std::ranges::max_element(values);
      double sum = 0.0;
      double weighted = 0.0;
      for (const float value : values) {
        const double z = (double{value} - *best) / 0.8;
        sum += std::exp(z);
        weighted += z * std::exp(z);
      }
      const double entropy = std::log(sum) - weighted / sum;
      EXPECT_NEAR(got[row].entropy, entropy, (is_exact() ? 1e-3 : 0.1) * (1.0 + entropy));
      if (!is_exact()) continue;
      EXPECT_EQ(got[row].greedy_token, best - values.begin());
    }
  }

  std::vector<CanvasCase> cases_;
  std::optional<LogitsRanks> ranks_;
};

INSTANTIATE_TEST_SUITE_P(Models,
                         CanvasFixtureTest,
                         ::testing::ValuesIn(canvas_setups()),
                         canvas_case_name);

TEST_P(CanvasFixtureTest, SegmentsAndCanvasStepsGiveTheOraclesValues) {
  ASSERT_GE(cases_.size(), 4U);
  for (const CanvasCase& fixture : cases_) {
    encode(fixture, fixture.segments);
    expect_steps(fixture);
  }
}

// The encoder may be cut anywhere.
TEST_P(CanvasFixtureTest, APrefixInChunksGivesTheOraclesValues) {
  for (const CanvasCase& fixture : cases_) {
    for (const std::int32_t piece : {1, 3, 1000}) {
      std::vector<std::int32_t> pieces;
      for (auto left = static_cast<std::int32_t>(fixture.tokens.size()); left > 0;) {
        pieces.push_back(std::min(piece, left));
        left -= pieces.back();
      }
      encode(fixture, pieces);
    }
    expect_steps(fixture);
  }
}

}  // namespace
}  // namespace tessera
