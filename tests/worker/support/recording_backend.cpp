#include "tests/worker/support/recording_backend.h"

#include "common/tensor/float_formats.h"

namespace tessera {
namespace {

RecordingBackend::Rows rows_of(const ConstMatrixView& view) {
  RecordingBackend::Rows rows{view.cols, {}};
  for (std::int64_t row = 0; row < view.rows; ++row) {
    for (std::int64_t col = 0; col < view.cols; ++col) {
      rows.values.push_back(load_element(view.row(row), view.dtype, col));
    }
  }
  return rows;
}

}  // namespace

void RecordingBackend::forget() {
  scaled_.clear();
  plain_norms_.clear();
  keys_.clear();
  values_.clear();
  choices_.clear();
}

void RecordingBackend::rms_norm_once(ConstMatrixView x,
                                     std::span<const float> weight,
                                     float eps,
                                     MatrixView out) {
  backend_.rms_norm_once(x, weight, eps, out);
  if (weight.empty()) plain_norms_.push_back(rows_of(out));
}

void RecordingBackend::scale(MatrixView x, float factor) {
  backend_.scale(x, factor);
  if (x.rows > 0) scaled_.push_back(rows_of(x));
}

void RecordingBackend::qk_norm_rope_store(const kernels::QkvArgs& args) {
  backend_.qk_norm_rope_store(args);
  keys_.push_back(rows_of(args.k));
  values_.push_back(rows_of(args.v));
}

void RecordingBackend::moe_route(const kernels::RouteArgs& args) {
  backend_.moe_route(args);
  choices_.push_back(
      {{args.experts.begin(), args.experts.end()}, {args.weights.begin(), args.weights.end()}});
}

}  // namespace tessera
