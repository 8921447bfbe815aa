#include "tests/worker/support/recording_backend.h"

#include "common/tensor/float_formats.h"

namespace tessera {
namespace {

RecordingBackend::Rows rows_of(kernels::Backend& backend, const ConstMatrixView& view) {
  RecordingBackend::Rows rows{view.cols, {}};
  std::vector<std::byte> row(static_cast<std::size_t>(view.cols * size_of(view.dtype)));
  for (std::int64_t i = 0; i < view.rows; ++i) {
    backend.download(view.row(i), row.data(), static_cast<std::int64_t>(row.size()));
    for (std::int64_t col = 0; col < view.cols; ++col) {
      rows.values.push_back(load_element(row.data(), view.dtype, col));
    }
  }
  return rows;
}

template <typename T>
std::vector<T> values_of(kernels::Backend& backend, std::span<const T> values) {
  std::vector<T> host(values.size());
  backend.download(values.data(), host.data(), static_cast<std::int64_t>(values.size_bytes()));
  return host;
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
  if (weight.empty()) plain_norms_.push_back(rows_of(backend_, out));
}

void RecordingBackend::scale(MatrixView x, float factor) {
  backend_.scale(x, factor);
  if (x.rows > 0) scaled_.push_back(rows_of(backend_, x));
}

void RecordingBackend::qk_norm_rope_store(const kernels::QkvArgs& args) {
  backend_.qk_norm_rope_store(args);
  keys_.push_back(rows_of(backend_, args.k));
  values_.push_back(rows_of(backend_, args.v));
}

void RecordingBackend::moe_route(const kernels::RouteArgs& args) {
  backend_.moe_route(args);
  choices_.push_back(
      {values_of<std::int32_t>(backend_, args.experts), values_of<float>(backend_, args.weights)});
}

}  // namespace tessera
