#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

/// A request as routes see it.
struct HttpRequest {
  std::string method;  ///< "GET", "POST", ...
  std::string path;    ///< Of the target, without the query, not decoded.
  std::map<std::string, std::string, std::less<>>
      headers;  ///< Names in lower case; the first wins.
  std::string body;

  /// Empty if there is no such header.
  std::string_view header(std::string_view lower_case_name) const {
    const auto found = headers.find(lower_case_name);
    return found == headers.end() ? std::string_view() : std::string_view(found->second);
  }
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  ///< Beyond what the server adds.
};

}  // namespace tessera
