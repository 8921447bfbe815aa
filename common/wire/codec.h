#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/wire/messages.h"

namespace tessera::wire {

/// Longer frames are neither sent nor read.
inline constexpr std::size_t kMaxFrameBytes = std::size_t{64} << 20;

/// One frame as it goes over the wire: Cap'n Proto of schema/frame.capnp, unpacked.
using Bytes = std::vector<std::byte>;

/// A step plan or result; epoch and step of the frame are the value's own.
Bytes encode(const StepPlan& plan);
Bytes encode(const StepResult& result);

/// Any other message, which belongs to no step.
Bytes encode(std::uint64_t epoch, const Message& message);

/// Reads a frame. The input needs no alignment: it is copied first, because Cap'n Proto needs words
/// and ZeroMQ's buffers often are not.
///
/// What comes back keeps the promises of the types: enumerations are known, ranges are ascending,
/// rows lie in [0, 2^31), counts of recipes and alternatives are within their arrays, probabilities
/// are finite. Whether a plan makes sense for its receiver is not looked at.
///
/// @throws Error{kTransport} if the bytes are truncated, foreign, of another schema version, or
///         break one of the promises. Work and memory are bounded by the frame's length.
Frame decode(std::span<const std::byte> bytes);

}  // namespace tessera::wire
