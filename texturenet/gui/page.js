// Sends dropped or chosen files to the server, one after the other, and tells the page about each.
window.texturenet = {
  async send(zone, files) {
    const said = zone.querySelector(".said");
    said.textContent = "";
    for (const file of [...files]) {  // a copy: the list empties with its input
      zone.classList.add("busy");
      try {
        const answer = await fetch("/upload/" + zone.dataset.kind, {
          method: "POST", headers: { "X-File-Name": encodeURIComponent(file.name) }, body: file });
        const told = await answer.json();
        if (answer.ok) emitEvent("uploaded", { kind: zone.dataset.kind, name: told.name });
        else said.textContent += told.error + " ";
      } catch {
        said.textContent += file.name + ": did not reach the server; is it still running? ";
      }
      zone.classList.remove("busy");
    }
  },
};
