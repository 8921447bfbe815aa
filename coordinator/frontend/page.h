#pragma once

#include <string_view>

namespace tessera {

/// page.html, put into the program when it is built.
std::string_view page_html();

}  // namespace tessera
