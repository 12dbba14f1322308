#include "objects/xml.h"

#include "objects/errors.h"
#include "text/text.h"

namespace mr::objects {

Result<> parse_xml(pugi::xml_document& doc, const std::string& body) {
  if (!text::utf8_valid(body)) return s3_error("MalformedXML");
  // The parser passes over what it does not know; the few things that would change a meaning are looked for first.
  bool cdata = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    if (body.compare(i, 9, "<![CDATA[") == 0) cdata = true;
    if (cdata && body.compare(i, 3, "]]>") == 0) cdata = false;
    if (body[i] != '&' || cdata) continue;
    auto end = body.find(';', i);
    auto name = end == std::string::npos ? std::string_view{} : std::string_view(body).substr(i + 1, end - i - 1);
    bool known = name == "amp" || name == "lt" || name == "gt" || name == "quot" || name == "apos" ||
                 (name.starts_with('#') && name.size() > 1);
    if (!known) return s3_error("MalformedXML");
  }
  auto result = doc.load_buffer(
      body.data(), body.size(),
      pugi::parse_default | pugi::parse_ws_pcdata | pugi::parse_doctype | pugi::parse_comments, pugi::encoding_utf8);
  if (!result) return s3_error("MalformedXML");
  int roots = 0;
  for (auto n : doc.children()) {
    if (n.type() == pugi::node_doctype) return s3_error("MalformedXML");
    if (n.type() == pugi::node_element) ++roots;
  }
  if (roots != 1) return s3_error("MalformedXML");
  return {};
}

std::string xml_text(const pugi::xml_node& node) {
  std::string out;
  for (auto c : node.children())
    if (c.type() == pugi::node_pcdata || c.type() == pugi::node_cdata) out += c.value();
  return out;
}

}  // namespace mr::objects
