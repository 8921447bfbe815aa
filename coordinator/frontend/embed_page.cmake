# cmake -DINPUT=page.html -DOUTPUT=page.cpp -P embed_page.cmake
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"coordinator/frontend/page.h\"

namespace tessera {
namespace {

const char kPage[] = {${bytes}};

}  // namespace

std::string_view page_html() {
  return {kPage, sizeof(kPage)};
}

}  // namespace tessera
")
