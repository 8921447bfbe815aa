#include "benchmarks/serving/zero_layer_executor.h"

#include <utility>

#include "benchmarks/serving/overhead_load.h"

namespace tessera {

ZeroLayerExecutor::ZeroLayerExecutor(std::int32_t num_pages, OnStep on_begin, OnStep on_end)
    : num_pages_(num_pages), on_begin_(std::move(on_begin)), on_end_(std::move(on_end)) {}

std::int64_t ZeroLayerExecutor::kv_memory_bytes() const {
  return std::int64_t{num_pages_} * kOverheadPageSize * kv_bytes_per_token();
}

StepResult ZeroLayerExecutor::run(const StepPlan& plan) {
  on_begin_(plan.step);
  StepResult result = zero_layer_result(plan);
  on_end_(plan.step);
  return result;
}

StepResult zero_layer_result(const StepPlan& plan) {
  StepResult result;
  result.epoch = plan.epoch;
  result.step = plan.step;
  result.spans.reserve(plan.spans.size());
  for (const SequenceSpan& sequence : plan.spans) {
    SpanResult& span = result.spans.emplace_back();
    span.request = sequence.request;
    span.measurements.resize(sequence.span.measures.size());
    for (std::size_t i = 0; i < span.measurements.size(); ++i) {
      const Measure& measure = sequence.span.measures[i];
      Measurement& measurement = span.measurements[i];
      measurement.position = measure.position;
      measurement.token = 1 + measure.position % 1000;
      const bool is_confident = (static_cast<std::uint64_t>(measure.position) + plan.step) % 4 == 0;
      measurement.confidence = is_confident ? 0.99F : 0.3F;
      measurement.plain_confidence = measurement.confidence;
    }
  }
  return result;
}

}  // namespace tessera
