// The few pictures, drawn on a grid of 24 in the colour of the text around them.
const paths = {
  home: "M4 11.5 12 5l8 6.500M6 10v9h12v-9",
  pipelines: "M5 6h5v4H5zM14 4h5v4h-5zM14 16h5v4h-5zM7.5 10v5a3 3 0 0 0 3 3H14M10 8c3 0 1-2 4-2",
  experiments: "M10 4v6l-5 8a1.5 1.5 0 0 0 1.3 2h11.400a1.5 1.5 0 0 0 1.3-2l-5-8V4M8.5 4h7M8 14h8",
  models: "M12 3l8 4.500v9L12 21l-8-4.500v-9zM4 7.500l8 4.5 8-4.500M12 12v9",
  endpoints: "M12 12m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M7 17a7 7 0 0 1 0-10M17 7a7 7 0 0 1 0 10M4.5 19.500a10.5 10.5 0 0 1 0-15M19.5 4.500a10.5 10.5 0 0 1 0 15",
  objects: "M5 7c0-1.7 3.1-3 7-3s7 1.3 7 3-3.1 3-7 3-7-1.3-7-3zM5 7v10c0 1.7 3.1 3 7 3s7-1.3 7-3V7M5 12c0 1.7 3.1 3 7 3s7-1.3 7-3",
  resources: "M4 5h16v4H4zM4 10.500h16v4H4zM4 16h16v4H4zM7 7h.01M7 12.500h.01M7 18h.01",
  link: "M14 5h5v5M19 5l-8 8M17 14v5H5V7h5",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.5 4.5",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.400M5.6 18.4 7 17M17 7l1.4-1.4",
  moon: "M19 14.500A7.5 7.5 0 0 1 9.5 5a7.5 7.5 0 1 0 9.5 9.500z",
  auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.500l4.5 4.500L19 7.5",
  cross: "M7 7l10 10M17 7 7 17",
  play: "M8 5.500v13l10-6.500z",
  wait: "M12 7v5l3 2M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z",
  skip: "M6 12h12",
  cached: "M12 4 4.5 12.500H11L10 20l7.5-9H13z",
  loop: "M17 4l3 3-3 3M20 7H8a4 4 0 0 0-4 4M7 20l-3-3 3-3M4 17h12a4 4 0 0 0 4-4",
  fork: "M6 4v6a4 4 0 0 0 4 4h8M14 10l4 4-4 4M6 14v6",
  folder: "M4 6h5l2 2h9v11H4z",
  file: "M7 3.500h7l4 4V20.500H7zM14 3.500v4h4",
  upload: "M12 16V5M7.5 9 12 4.5 16.5 9M5 19.500h14",
  download: "M12 4.500V16M7.5 11.5 12 16l4.5-4.500M5 19.500h14",
  trash: "M5 7h14M10 7V4.500h4V7M7 7l1 13h8l1-13",
  copy: "M9 9h10v11H9zM5 15V4h10",
  plus: "M12 5v14M5 12h14",
  right: "M9 5l7 7-7 7",
  down: "M5 9l7 7 7-7",
} as const;
export type IconName = keyof typeof paths;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={paths[name]} fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}
