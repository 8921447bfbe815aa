#include "kernels/step_arrays.h"

#include <utility>

#include "common/base/error.h"
#include "common/tensor/padding.h"

namespace tessera::kernels {

StepArrays::StepArrays(Buffer host, Buffer device)
    : host_(std::move(host)), device_(std::move(device)) {}

void StepArrays::clear() {
  taken_ = 0;
  sent_ = 0;
  layout_ = 0;
}

void* StepArrays::take_bytes(std::int64_t num_bytes) {
  const std::int64_t begin = round_up(taken_, kAlignment);
  TESSERA_CHECK(num_bytes >= 0 && begin + num_bytes <= capacity(), "the arrays of a step take ",
                begin + num_bytes, " bytes; ", capacity(), " are reserved");
  taken_ = begin + num_bytes;
  constexpr std::uint64_t kPrime = 0x100000001B3;
  layout_ = (layout_ ^ static_cast<std::uint64_t>(begin + 1)) * kPrime;
  return host_.as<std::byte>() + begin;
}

StepArrays::Transfer StepArrays::send() {
  sent_ = taken_;
  return {host_.data(), device_.data(), sent_};
}

const void* StepArrays::on_device(const void* data, std::int64_t num_bytes) const {
  const auto offset = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data) -
                                                reinterpret_cast<std::uintptr_t>(host_.data()));
  if (offset < 0 || offset >= capacity()) return nullptr;
  TESSERA_CHECK(offset + num_bytes <= sent_, "an array of the step at byte ", offset, " of ",
                num_bytes, " bytes was used before it was sent: ", sent_, " bytes were");
  return device_.as<std::byte>() + offset;
}

}  // namespace tessera::kernels
