#pragma once

#include <string>
#include <string_view>

#include "coordinator/frontend/http/http_message.h"

namespace tessera {

/// Status line and headers of an answer whose body follows as it is.
std::string whole_head_text(const HttpResponse& response, bool keep_alive);

/// Status line and headers of a stream. @param chunked  Else the end of the connection ends it.
std::string stream_head_text(const HttpResponse& head, bool chunked, bool keep_alive);

/// One chunk of the chunked transfer coding; empty for no bytes, which would end the stream.
std::string chunk(std::string_view bytes);

inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace tessera
