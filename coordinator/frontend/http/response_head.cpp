#include "coordinator/frontend/http/response_head.h"

#include <cstdio>

namespace tessera {
namespace {

std::string_view reason_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Payload Too Large";
    case 415: return "Unsupported Media Type";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return "Unknown";
  }
}

std::string head_text(const HttpResponse& response, bool keep_alive) {
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + " ";
  text += reason_of(response.status);
  text += "\r\nContent-Type: " + response.content_type + "\r\n";
  for (const auto& [name, value] : response.headers) {
    if (name != "Connection") text += name + ": " + value + "\r\n";
  }
  text += keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  return text;
}

}  // namespace

std::string whole_head_text(const HttpResponse& response, bool keep_alive) {
  return head_text(response, keep_alive) +
         "Content-Length: " + std::to_string(response.body.size()) + "\r\n\r\n";
}

std::string stream_head_text(const HttpResponse& head, bool chunked, bool keep_alive) {
  return head_text(head, keep_alive) + (chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
}

std::string chunk(std::string_view bytes) {
  if (bytes.empty()) return "";
  char size[32];
  const int n = std::snprintf(size, sizeof(size), "%zx\r\n", bytes.size());
  std::string text(size, static_cast<std::size_t>(n));
  text += bytes;
  return text += "\r\n";
}

}  // namespace tessera
