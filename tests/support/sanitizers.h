#pragma once

namespace tessera {

/// How often a test repeats itself: `full` times, and `sanitized` times in a sanitizer build, where
/// a repetition takes 10 to 20 times as long. What is counted are seeds, files and bytes that the
/// Release build goes through in full.
template <typename T>
constexpr T repetitions([[maybe_unused]] T full, [[maybe_unused]] T sanitized) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return sanitized;
#else
  return full;
#endif
}

}  // namespace tessera
