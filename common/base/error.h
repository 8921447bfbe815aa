#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tessera {

/// Who broke the contract. The code decides where an Error may be handled.
enum class ErrorCode {
  kInvalidArgument,  ///< The caller broke a documented precondition.
  kInternal,         ///< We broke our own invariant: a bug in this repository.
  kDevice,           ///< A device or collective call failed. Fatal for the rank.
  kTransport,        ///< A peer is gone or sent something that does not decode.
};

/// The only exception type this code base throws.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& what) : std::runtime_error(what), code_(code) {}

  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

namespace detail {

/// Builds "file:line: check `condition` failed: message" and throws Error. For kInvalidArgument
/// and kTransport the text is the message alone: it is read by the person who sent the input.
[[noreturn]] void throw_error(ErrorCode code,
                              std::string_view condition,
                              const std::string& message,
                              const char* file,
                              int line);

template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace detail
}  // namespace tessera

// The message parts are streamed together, and only when the check fails. Not
// std::source_location: clang-tidy 14, the one Debian 12 ships, cannot parse libstdc++'s.
#define TESSERA_CHECK_AS(code, condition, ...)                                                 \
  do {                                                                                         \
    if (!(condition)) [[unlikely]] {                                                           \
      ::tessera::detail::throw_error(code, #condition, ::tessera::detail::concat(__VA_ARGS__), \
                                     __FILE__, __LINE__);                                      \
    }                                                                                          \
  } while (false)

/// Checks what the caller promised. The message is shown to that caller: name the field, the
/// value and the allowed range.
#define TESSERA_REQUIRE(condition, ...) \
  TESSERA_CHECK_AS(::tessera::ErrorCode::kInvalidArgument, condition, __VA_ARGS__)

/// Checks what we promised ourselves.
#define TESSERA_CHECK(condition, ...) \
  TESSERA_CHECK_AS(::tessera::ErrorCode::kInternal, condition, __VA_ARGS__)

/// Checks what a peer sent.
#define TESSERA_CHECK_TRANSPORT(condition, ...) \
  TESSERA_CHECK_AS(::tessera::ErrorCode::kTransport, condition, __VA_ARGS__)
