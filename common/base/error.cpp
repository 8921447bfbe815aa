#include "common/base/error.h"

namespace tessera::detail {

void throw_error(ErrorCode code,
                 std::string_view condition,
                 const std::string& message,
                 const char* file,
                 int line) {
  if (code == ErrorCode::kInvalidArgument || code == ErrorCode::kTransport) {
    throw Error(code, message);
  }
  throw Error(code, concat(file, ":", line, ": check `", condition, "` failed: ", message));
}

}  // namespace tessera::detail
