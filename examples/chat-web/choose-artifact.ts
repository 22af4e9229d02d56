import type { Artifact, ArtifactFile } from "./messages.ts";

type DirectoryPicker = (options: { readonly id: string }) => Promise<FileSystemDirectoryHandle>;

/**
 * Asks for a folder: with the File System Access API, which reads what is needed of it, or else with the
 * browser's file dialog, which lists all of it.
 * @param input `<input type="file" webkitdirectory>`, whose change event brings what the dialog gives
 * @returns undefined where the user chose nothing yet
 */
export async function pickFolder(input: HTMLInputElement): Promise<Artifact | undefined> {
  const { showDirectoryPicker } = window as { readonly showDirectoryPicker?: DirectoryPicker };
  if (showDirectoryPicker === undefined) {
    input.click();
    return undefined;
  }
  try {
    return await showDirectoryPicker({ id: "artifact" });
  } catch (error) {
    if ((error as Error).name === "AbortError") return undefined;
    throw error;
  }
}

/** The artifact in the files of a folder input. */
export const fromFileList = (files: Iterable<File>): Artifact =>
  fromManifest(Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file })));

/** The artifact in what was dropped: a folder, or its files. To be called before the drop event has ended. */
export async function fromDrop(data: DataTransfer): Promise<Artifact> {
  // What is asked for once the event has ended is not there any more.
  const entries = Array.from(data.items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  return fromManifest((await Promise.all(entries.map(filesOf))).flat());
}

async function filesOf(entry: FileSystemEntry): Promise<ArtifactFile[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((...settle) => (entry as FileSystemFileEntry).file(...settle));
    return [{ path: entry.fullPath.slice(1), file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const files: ArtifactFile[] = [];
  for (;;) {
    // It gives a hundred at a time, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((...settle) => reader.readEntries(...settle));
    if (some.length === 0) return files;
    for (const child of some) files.push(...(await filesOf(child)));
  }
}

/** Paths counted from the outermost folder that holds a manifest. */
function fromManifest(files: readonly ArtifactFile[]): readonly ArtifactFile[] {
  const folders = files
    .filter(({ path }) => /(^|\/)manifest\.json$/.test(path))
    .map(({ path }) => path.slice(0, path.lastIndexOf("/") + 1))
    .sort((a, b) => a.length - b.length);
  const folder = folders[0] ?? "";
  return files
    .filter(({ path }) => path.startsWith(folder))
    .map(({ path, file }) => ({ path: path.slice(folder.length), file }));
}
