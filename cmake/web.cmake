# The dashboard's web pages: bundled by Node.js in the build folder, then embedded. Sets MILLRACE_WEB_PACK, the file that
# src/dashboard/assets.cpp carries; without Node it is empty, and the program says how to get the pages.
find_program(MILLRACE_NODE node)
find_program(MILLRACE_NPM npm)
if(MILLRACE_NODE AND MILLRACE_NPM)
  set(web_default ON)
else()
  set(web_default OFF)
endif()
option(MILLRACE_WEB "Build the dashboard's web pages (needs Node.js 18 or newer, and npm)" ${web_default})

# Where there is no Node.js but someone else's build has pages: that build's web/pages.pack.
set(MILLRACE_WEB_PAGES "" CACHE FILEPATH "Pages that are built already, to be embedded as they are")

if(MILLRACE_WEB_PAGES)
  if(NOT EXISTS ${MILLRACE_WEB_PAGES})
    message(FATAL_ERROR "MILLRACE_WEB_PAGES names no file: ${MILLRACE_WEB_PAGES}")
  endif()
  get_filename_component(MILLRACE_WEB_PACK ${MILLRACE_WEB_PAGES} ABSOLUTE)
elseif(MILLRACE_WEB)
  if(NOT MILLRACE_NODE OR NOT MILLRACE_NPM)
    message(FATAL_ERROR "MILLRACE_WEB=ON needs node and npm; set it OFF, or give built pages with MILLRACE_WEB_PAGES")
  endif()
  set(web_folder ${CMAKE_BINARY_DIR}/web)
  set(MILLRACE_WEB_PACK ${web_folder}/pages.pack)
  file(GLOB_RECURSE web_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/src/*)
  foreach(name package.json package-lock.json .npmrc tsconfig.json vite.config.ts pack.mjs index.html)
    list(APPEND web_sources ${CMAKE_SOURCE_DIR}/web/${name})
  endforeach()
  add_custom_command(OUTPUT ${MILLRACE_WEB_PACK} DEPENDS ${web_sources} ${CMAKE_SOURCE_DIR}/scripts/web.sh
    COMMAND ${CMAKE_SOURCE_DIR}/scripts/web.sh ${web_folder}
    COMMENT "Building the dashboard's pages")
else()
  set(MILLRACE_WEB_PACK ${CMAKE_BINARY_DIR}/no-pages.pack)
  file(WRITE ${MILLRACE_WEB_PACK} "")
endif()
