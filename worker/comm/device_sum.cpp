#include "worker/comm/device_sum.h"

#include <algorithm>

#include "common/base/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kFloatBytes = sizeof(float);
// Between two H100 over NVLink a second round takes 7 us, in which that much travels.
constexpr std::int64_t kExcessBytes = 3 << 19;
// For two ranks there is no excess; beyond this the second half of the additions is.
constexpr std::int64_t kMostPartsBytes = 32 << 20;
// Slices begin on 16 bytes where the values do.
constexpr std::int64_t kSliceUnit = 4;

}  // namespace

DeviceSum::DeviceSum(DeviceExchange& exchange, kernels::Backend& backend, std::int64_t max_count)
    : exchange_(exchange), backend_(backend), max_count_(max_count) {
  const std::int64_t one_round =
      exchange.size() * std::min(max_count, one_round_count(exchange.size()));
  parts_ = backend.allocate(std::max(one_round, max_count) * kFloatBytes);
  const kernels::Buffer zeros = backend.allocate(max_count * kFloatBytes);
  const std::span<float> values = zeros.values<float>();
  all_reduce_tree(values.first(std::min<std::size_t>(1, values.size())));
  all_reduce_tree(values);
  float first = 0.0F;
  if (max_count > 0) backend.download(values.data(), &first, kFloatBytes);  // waits
}

std::int64_t DeviceSum::one_round_count(std::int32_t num_ranks) {
  // A rank receives (n - 1) times the values in one round, 2 (n - 1) / n times in two.
  const std::int64_t n = num_ranks;
  std::int64_t bytes = kMostPartsBytes / n;
  if (n > 2) bytes = std::min(bytes, kExcessBytes * n / ((n - 1) * (n - 2)));
  return bytes / kFloatBytes;
}

void DeviceSum::all_reduce_tree(std::span<float> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  TESSERA_REQUIRE(count <= max_count_, "a sum of ", count, " values over ranks; there is room for ",
                  max_count_);
  if (count <= one_round_count(exchange_.size())) {
    sum_in_one_round(values);
    return;
  }
  const std::int64_t unit = exchange_.size() * kSliceUnit;
  const auto even = static_cast<std::size_t>(count / unit * unit);
  sum_in_two_rounds(values.first(even));
  sum_in_one_round(values.subspan(even));
}

void DeviceSum::sum_in_one_round(std::span<float> values) {
  if (values.empty()) return;
  const auto count = static_cast<std::int64_t>(values.size());
  auto* parts = parts_.as<float>();
  exchange_.all_gather(values.data(), parts, count);
  backend_.sum_parts({parts, DType::kFloat32, exchange_.size(), count, count}, values);
}

void DeviceSum::sum_in_two_rounds(std::span<float> values) {
  const auto slice = static_cast<std::int64_t>(values.size()) / exchange_.size();
  auto* parts = parts_.as<float>();
  float* own = values.data() + exchange_.rank() * slice;
  exchange_.exchange(values.data(), parts, slice);
  backend_.sum_parts({parts, DType::kFloat32, exchange_.size(), slice, slice},
                     {own, static_cast<std::size_t>(slice)});
  exchange_.all_gather(own, values.data(), slice);
}

}  // namespace tessera
