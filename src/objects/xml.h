// Reading the small XML documents of S3 requests strictly. Internal to objects/.
#pragma once
#include <pugixml.hpp>
#include <string>

#include "core/error.h"

namespace mr::objects {

// MalformedXML for anything but one well-formed UTF-8 root element: no document type, no unknown entities, nothing
// after it.
Result<> parse_xml(pugi::xml_document& doc, const std::string& body);

// All text below an element, comments left out.
std::string xml_text(const pugi::xml_node& node);

}  // namespace mr::objects
