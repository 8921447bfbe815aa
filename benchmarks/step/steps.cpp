#include "benchmarks/step/steps.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "common/base/error.h"
#include "worker/make_model/model_shape.h"

namespace tessera::benchmarks {
namespace {

constexpr std::int32_t kBlock = 32;

const ModelPreset& preset_named(const std::string& name) {
  const auto presets = model_presets();
  const auto found = std::ranges::find(presets, name, &ModelPreset::name);
  TESSERA_REQUIRE(found != presets.end(), "no model is called ", name,
                  " (see tessera make-model --help)");
  return *found;
}

}  // namespace

ModelDirectory::ModelDirectory(const std::string& preset) {
  nlohmann::ordered_json config = config_of(preset_named(preset).shape, "bfloat16");
  config["eos_token_id"] = 0;
  config["mask_token_id"] = 1;
  std::string name = "/tmp/tessera-step-XXXXXX";
  TESSERA_REQUIRE(mkdtemp(name.data()) != nullptr, "no directory can be made in /tmp");
  path_ = name;
  std::ofstream(path_ / "config.json") << config;
}

ModelDirectory::~ModelDirectory() {
  std::error_code ignored;  // a destructor
  std::filesystem::remove_all(path_, ignored);
}

RankConfig Steps::config(std::int32_t max_sequences, std::int32_t max_step_rows) const {
  return {.page_size = kPageSize,
          .num_pages = max_sequences * (context_ / kPageSize),
          .max_step_rows = max_step_rows,
          .max_model_len = context_ + kPageSize * 4,
          .max_sequences = max_sequences};
}

StepPlan Steps::prefill(std::int32_t index, std::int32_t first, std::int32_t count) {
  StepPlan plan = next();
  const auto request = static_cast<RequestId>(index) + 1;
  if (first == 0) {
    PageTableDelta delta{request, 0, {}};
    const std::int32_t num_pages = context_ / kPageSize;
    for (PageId page = 0; page < num_pages; ++page) delta.pages.push_back(index * num_pages + page);
    plan.page_table_deltas.push_back(std::move(delta));
  }
  Span span = rows(first, count);
  span.cache_len = first;
  span.stores = {{first, first + count}};
  plan.spans.push_back({request, std::move(span)});
  return plan;
}

StepPlan Steps::denoise(const StepShape& shape) {
  StepPlan plan = next();
  for (std::int32_t i = 0; i < shape.num_sequences; ++i) {
    Span span = rows(context_, shape.rows_each);
    span.cache_len = context_;
    for (Position row = span.first; measured_ && row < span.end(); ++row) {
      Measure measure;
      measure.row = measure.position = row;
      span.measures.push_back(measure);
    }
    plan.spans.push_back({static_cast<RequestId>(i) + 1, std::move(span)});
  }
  return plan;
}

StepPlan Steps::next() {
  StepPlan plan;
  plan.epoch = 1;
  plan.step = ++step_;
  return plan;
}

Span Steps::rows(Position first, std::int32_t count) const {
  Span span;
  span.first = first;
  span.mask_block = kBlock;
  for (std::int32_t i = 0; i < count; ++i) span.tokens.push_back((first + i) * 7919 % 151000);
  return span;
}

StepTimes time_steps(RankExecutor& rank, Steps& steps, const StepShape& shape, std::int32_t count) {
  constexpr std::int32_t kWarmUp = 2;
  std::vector<std::pair<double, double>> times;
  for (std::int32_t i = 0; i < kWarmUp + count; ++i) {
    const StepPlan plan = steps.denoise(shape);
    const auto begin = std::chrono::steady_clock::now();
    const StepResult result = rank.run(plan);
    const auto end = std::chrono::steady_clock::now();
    if (i < kWarmUp) continue;
    times.emplace_back(std::chrono::duration<double>(end - begin).count(),
                       result.timing.collective_seconds);
  }
  std::sort(times.begin(), times.end());
  StepTimes result{shape, {}, times[times.size() / 2].second};
  for (const auto& [seconds, collective] : times) result.seconds.push_back(seconds);
  return result;
}

}  // namespace tessera::benchmarks
